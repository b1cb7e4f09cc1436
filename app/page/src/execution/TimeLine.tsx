// The time of an execution as bars: wait, run, tool calls, sub-agents; deadlines, heartbeats and phases as marks.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Execution } from "../wire/types";
import { between, duration, ended } from "../words";
import { type Mark, type Span, nameOf, useSpans } from "./spans";

const FEW = 10;

interface Placed {
  span: Span;
  depth: number;
}

export function TimeLine({ execution, version, now }: { execution: Execution; version: number; now: number }): JSX.Element | null {
  const { spans, marks } = useSpans(execution, version);
  const [all, setAll] = useState(false);
  const placed = useMemo(() => nested(spans.filter((span) => span.kind !== "model")), [spans]);
  const names = new Map((execution.status.tool_calls ?? []).map((call) => [call.id, nameOf(call)]));
  const first = Math.min(...spans.map((span) => Date.parse(span.start)));
  if (!spans.length || Number.isNaN(first)) return null;
  const over = ended(execution.status.phase);
  const endOf = (span: Span): number => (span.end ? Date.parse(span.end) : over ? Date.parse(execution.status.completed_at ?? "") || now : now);
  const last = Math.max(...spans.map(endOf));
  const whole = Math.max(last - first, 1);
  // A deadline far in the future would press everything else into the corner.
  const near = marks.filter((mark) => Date.parse(mark.at) <= first + whole * 1.35 && !["heartbeat", "phase"].includes(mark.kind));
  const beats = marks.filter((mark) => mark.kind === "heartbeat");
  const width = Math.max(whole, ...near.map((mark) => Date.parse(mark.at) - first));
  const at = (time: number): string => `${(Math.min(Math.max((time - first) / width, 0), 1) * 100).toFixed(2)}%`;
  const shown = all ? placed : placed.slice(0, FEW);
  return (
    <section class="time-line" aria-label="Time line">
      <ol>
        {shown.map(({ span, depth }) => {
          const [from, to] = [Date.parse(span.start), endOf(span)];
          const took = duration((to - from) / 1000);
          const name = span.kind === "queue" ? "waits in the queue" : span.kind === "tool" ? (names.get(span.id) ?? span.name) : span.name;
          const models = spans.filter((one) => one.kind === "model" && one.parentId === span.id);
          return (
            <li key={span.id} aria-label={`${span.kind.replace("_", "-")} ${name}, ${took}, ${(span.state ?? "").replace("_", " ")}`}>
              <span class={`name depth-${Math.min(depth, 3)}`} title={name === span.name ? name : `${name} (${span.name})`}>
                {name}
              </span>
              <span class="track" aria-hidden="true">
                <span
                  class={`bar ${span.kind} ${span.state ?? ""}${span.end || over ? "" : " open"}`}
                  style={{ left: at(from), width: `max(3px, ${(((to - from) / width) * 100).toFixed(2)}%)` }}
                  title={`${name}: ${took}`}
                />
                {models.map((one) => {
                  const [start, end] = [Date.parse(one.start), endOf(one)];
                  const wide = `max(2px, ${(((end - start) / width) * 100).toFixed(2)}%)`;
                  return <span key={one.id} class="bar model" style={{ left: at(start), width: wide }} title={`${one.name}: ${duration((end - start) / 1000)}`} />;
                })}
                {span.kind === "run" && beats.map((beat) => <span key={beat.at} class="beat" style={{ left: at(Date.parse(beat.at)) }} title={beat.name} />)}
                {near.map((mark) => (
                  <span key={mark.kind + mark.name + mark.at} class={`mark ${mark.kind}`} style={{ left: at(Date.parse(mark.at)) }} title={told(mark, first)} />
                ))}
              </span>
              <span class="took">{took}</span>
            </li>
          );
        })}
      </ol>
      <div class="axis" aria-hidden="true">
        <span />
        <span class="track">
          {[0, 0.25, 0.5, 0.75, 1].map((part) => (
            <span key={part} style={{ left: `${part * 100}%` }}>
              {duration((width * part) / 1000)}
            </span>
          ))}
        </span>
        <span />
      </div>
      <p class="line under">
        {placed.length > FEW && (
          <button type="button" class="quiet" aria-expanded={all} onClick={() => setAll(!all)}>
            {all ? "Show fewer" : `Show all ${placed.length}`}
          </button>
        )}
        {spans.some((span) => span.kind === "model") && <span class="dim model-key">model calls</span>}
        {marks
          .filter((mark) => mark.kind === "deadline")
          .map((mark) => (
            <span key={mark.name} class="dim">
              {told(mark, first)}
            </span>
          ))}
        {beats.length > 0 && !over && <span class="dim">last heartbeat {duration(between(beats.at(-1)?.at, now))} ago</span>}
      </p>
    </section>
  );
}

const told = (mark: Mark, first: number): string =>
  `${mark.kind === "deadline" ? "deadline " : ""}${mark.name} at ${duration((Date.parse(mark.at) - first) / 1000)}`;

/** Children behind their parents, in the order of their starts. */
function nested(spans: Span[]): Placed[] {
  const ids = new Set(spans.map((span) => span.id));
  const children = new Map<string, Span[]>();
  for (const span of spans) {
    const parent = span.parentId && span.parentId !== span.id && ids.has(span.parentId) ? span.parentId : "";
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const found: Placed[] = [];
  const seen = new Set<string>();
  const walk = (parent: string, depth: number): void => {
    for (const span of (children.get(parent) ?? []).sort((a, b) => a.start.localeCompare(b.start))) {
      if (seen.has(span.id)) continue;
      seen.add(span.id);
      found.push({ span, depth });
      walk(span.id, depth + 1);
    }
  };
  walk("", 0);
  return found;
}
