// What narrows the list. Each change is a new address, so that back undoes it and a link keeps it.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Filters, NO_FILTERS, go, listAddress } from "../address";
import { PHASES, count, short, spoken } from "../words";
import type { Counts } from "./rows";

export function Counters({ filters, counts }: { filters: Filters; counts: Counts | null }): JSX.Element {
  const total = counts && Object.values(counts.phases).reduce((sum, n) => sum + n, 0);
  const only = (phase: string[]): string => listAddress({ ...filters, phase, page: "", waiting: false });
  const plus = counts?.more ? "+" : "";
  return (
    <nav class="counters" aria-label="Executions by phase">
      <a href={only([])} aria-current={!filters.phase.length && !filters.waiting ? "true" : undefined}>
        <b>{total === null ? "" : count(total) + plus}</b> all
      </a>
      {PHASES.map((phase) => (
        <a
          key={phase}
          class={short(phase)}
          href={only(filters.phase.includes(phase) ? [] : [phase])}
          aria-current={filters.phase.includes(phase) ? "true" : undefined}
        >
          <b>{counts ? count(counts.phases[phase] ?? 0) : ""}</b> {spoken(phase)}
        </a>
      ))}
      <a
        class="WAITS"
        href={listAddress({ ...filters, phase: [], page: "", waiting: !filters.waiting })}
        aria-current={filters.waiting ? "true" : undefined}
      >
        needs an answer
      </a>
    </nav>
  );
}

const MORE: [keyof Filters, string, string][] = [
  ["agent", "Agent", "name or id"],
  ["graph", "Graph", "name"],
  ["session", "Session", "ses-…"],
  ["code", "Code", "E103"],
  ["label", "Label", "name:value"],
];
const SINCE: [string, string][] = [
  ["", "any time"],
  ["15", "15 minutes"],
  ["60", "1 hour"],
  ["1440", "24 hours"],
  ["10080", "7 days"],
];

export function FilterBar({ filters }: { filters: Filters }): JSX.Element {
  const used = MORE.filter(([name]) => filters[name]).length + (filters.after ? 1 : 0) + (filters.before ? 1 : 0);
  const [open, setOpen] = useState(used > 0);
  useEffect(() => setOpen((was) => was || used > 0), [used]);
  const change = (name: keyof Filters, value: string): void => go(listAddress({ ...filters, page: "", [name]: value }), { replace: name === "q" });
  return (
    <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
      <Text id="search" label="Search in ids and messages" hint="Search ids and messages  ( / )" value={filters.q} set={(q) => change("q", q)} soon />
      <button type="button" class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
        Filters{used ? ` (${used})` : ""}
      </button>
      {listAddress(filters) !== "#" && (
        <a class="quiet" href={listAddress(NO_FILTERS)}>
          Clear
        </a>
      )}
      {open && (
        <div class="more">
          {MORE.map(([name, label, hint]) => (
            <label key={name}>
              {label}
              <Text label={label} hint={hint} value={filters[name] as string} set={(value) => change(name, value)} />
            </label>
          ))}
          <label>
            Created within
            <select
              value=""
              onChange={(event) => {
                const minutes = Number(event.currentTarget.value);
                if (event.currentTarget.value !== "keep")
                  change("after", minutes ? new Date(Date.now() - minutes * 60_000).toISOString().slice(0, 19) + "Z" : "");
              }}
            >
              {filters.after && <option value="keep">since {new Date(filters.after).toLocaleString()}</option>}
              {SINCE.map(([value, text]) => (
                <option key={value} value={value} selected={value === "" && !filters.after}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          <label>
            Created before
            <input
              type="datetime-local"
              value={local(filters.before)}
              onChange={(event) => change("before", event.currentTarget.value && `${new Date(event.currentTarget.value).toISOString().slice(0, 19)}Z`)}
            />
          </label>
        </div>
      )}
    </form>
  );
}

/** RFC 3339 as the browser's own field for times wants it: this machine's zone, no zone written. */
function local(at: string): string {
  if (!at) return "";
  const then = new Date(at);
  return new Date(then.getTime() - then.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

interface TextGiven {
  id?: string;
  label: string;
  hint: string;
  value: string;
  set: (value: string) => void;
  soon?: boolean;
}

/** A field that says what it holds when it is left or Enter is pressed; `soon`: also when the writer pauses. */
function Text({ id, label, hint, value, set, soon = false }: TextGiven): JSX.Element {
  const [text, setText] = useState(value);
  const timer = useRef(0);
  useEffect(() => setText(value), [value]);
  const told = (now: string): void => {
    clearTimeout(timer.current);
    if (now !== value) set(now.trim());
  };
  return (
    <input
      id={id}
      type="search"
      aria-label={label}
      placeholder={hint}
      value={text}
      autocomplete="off"
      spellcheck={false}
      onInput={(event) => {
        const now = event.currentTarget.value;
        setText(now);
        clearTimeout(timer.current);
        if (soon) timer.current = window.setTimeout(() => told(now), 300);
      }}
      onChange={(event) => told(event.currentTarget.value)}
      onKeyDown={(event) => event.key === "Enter" && told(event.currentTarget.value)}
    />
  );
}
