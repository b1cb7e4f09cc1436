// The list of executions: filters, counters by phase, rows that a keyboard can walk, and what is done to several.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { type Filters, executionAddress, go, listAddress } from "../address";
import { Note, useNow } from "../parts/parts";
import type { Row } from "../wire/types";
import { ended } from "../words";
import { Bulk } from "./Bulk";
import { Counters, FilterBar } from "./Filters";
import { Line } from "./Line";
import { useRows } from "./rows";

export function List({ filters }: { filters: Filters }): JSX.Element {
  const found = useRows(filters);
  const [chosen, choose] = useState<ReadonlySet<string>>(new Set());
  const now = useNow(found.rows.some((row) => !ended(row.phase)));
  const table = useRef<HTMLTableElement>(null);
  useKeys(table, found.rows, (id) => toggle(id), () => choose(new Set()));
  useEffect(() => choose(new Set()), [JSON.stringify(filters)]);
  const toggle = (id: string): void =>
    choose((was) => {
      const next = new Set(was);
      if (!next.delete(id)) next.add(id);
      return next;
    });
  const all = found.rows.length > 0 && found.rows.every((row) => chosen.has(row.id));
  const chosenRows = found.rows.filter((row) => chosen.has(row.id));
  const priced = found.rows.some((row) => row.cost);
  const filtered = listAddress({ ...filters, page: "" }) !== "#";
  return (
    <main id="view" class="list-view">
      <h1 class="unseen">Executions</h1>
      <Counters filters={filters} counts={found.counts} />
      <FilterBar filters={filters} />
      {found.problem && <Note>{found.problem}</Note>}
      <Bulk rows={chosenRows} clear={() => choose(new Set())} changed={found.refresh} />
      <table ref={table} aria-label="Executions" aria-rowcount={-1}>
        <thead>
          <tr>
            <th class="pick">
              <input
                type="checkbox"
                aria-label="Choose all of this page"
                checked={all}
                onChange={() => choose(new Set(all ? [] : found.rows.map((row) => row.id)))}
              />
            </th>
            <th class="c-phase">Phase</th>
            <th class="c-message">Message</th>
            <th class="c-agent">Agent or graph</th>
            <th class="c-session">Session</th>
            <th class="c-started">Created</th>
            <th class="c-duration">Duration</th>
            <th class="c-tokens">Tokens in / out</th>
            {priced && <th class="c-cost">Cost</th>}
            <th class="c-worker">Worker</th>
            <th class="c-code">Code</th>
          </tr>
        </thead>
        <tbody id="list">
          {found.rows.map((row) => (
            <Line key={row.id} row={row} now={now} chosen={chosen.has(row.id)} toggle={toggle} filters={filters} priced={priced} />
          ))}
        </tbody>
      </table>
      {!found.rows.length && found.live && !found.problem && (
        <p class="empty">
          {filtered ? "No execution matches these filters. " : "There are no executions yet. "}
          <a href={filtered ? "#" : "#/start"}>{filtered ? "Show all" : "Start one"}</a>
        </p>
      )}
      {!found.live && !found.problem && <p class="empty">Reading …</p>}
      <nav class="pages" aria-label="Pages">
        {filters.page && <a href={listAddress({ ...filters, page: "" })}>« Newest</a>}
        {found.next && <a href={listAddress({ ...filters, page: found.next })}>Older »</a>}
        <span class="dim live-how">{found.live === "ask" ? "asked for every 3 s" : found.live === "push" ? "live" : ""}</span>
      </nav>
    </main>
  );
}

/** `j` and `k` or the arrows walk, Enter opens, `x` chooses, `/` searches. Not while somebody writes. */
function useKeys(
  table: { current: HTMLTableElement | null },
  rows: Row[],
  toggle: (id: string) => void,
  chooseNone: () => void,
): void {
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const at = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (at.matches("input:not([type=checkbox]), textarea, select")) {
        if (event.key === "Escape") at.blur();
        return;
      }
      const links = [...(table.current?.querySelectorAll<HTMLElement>("tbody a.open") ?? [])];
      const here = links.findIndex((link) => link.closest("tr") === at.closest("tr"));
      const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
      const id = here >= 0 ? rows[here]?.id : undefined;
      if (step) links[Math.min(Math.max(here < 0 ? 0 : here + step, 0), links.length - 1)]?.focus();
      else if (event.key === "x" && id) toggle(id);
      else if (event.key === "/") document.querySelector<HTMLElement>("#search")?.focus();
      else if (event.key === "Enter" && id && at.matches("tr, td")) go(executionAddress(id));
      else if (event.key === "Escape") chooseNone();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [rows]);
}
