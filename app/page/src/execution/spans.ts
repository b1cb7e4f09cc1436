// The parts of an execution's time: as the server tells them, or from the execution itself where it does not.

import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, pathOf, read } from "../wire/api";
import type { Execution, ToolCall } from "../wire/types";
import { ended } from "../words";

export interface Span {
  id: string;
  kind: string;
  name: string;
  start: string;
  end?: string;
  parentId?: string;
  state?: string;
}
export interface Mark {
  kind: string;
  name: string;
  at: string;
}
export interface Spans {
  spans: Span[];
  marks: Mark[];
}

const ASKED_EVERY_MS = 1000;
let told = true;

/** Asked for again as the execution changes, at most once a second. */
export function useSpans(execution: Execution, version: number): Spans {
  const id = execution.metadata.id;
  const [server, set] = useState<{ id: string; spans: Spans } | null>(null);
  const asked = useRef({ at: 0, timer: 0 });
  const phase = execution.status.phase;
  useEffect(() => {
    if (!told) return;
    const ask = async (): Promise<void> => {
      asked.current = { at: performance.now(), timer: 0 };
      try {
        set({ id, spans: await read<Spans>(pathOf(id, "/timeline")) });
      } catch (error) {
        if (error instanceof Refused && [404, 405].includes(error.status)) told = false;
      }
    };
    if (asked.current.timer) return;
    const rest = Math.max(0, ASKED_EVERY_MS - (performance.now() - asked.current.at));
    asked.current.timer = window.setTimeout(ask, asked.current.at ? rest : 0);
  }, [id, version, phase]);
  useEffect(
    () => () => {
      clearTimeout(asked.current.timer);
      asked.current = { at: 0, timer: 0 };
    },
    [id],
  );
  return told && server?.id === id && server.spans.spans.length ? server.spans : spansOf(execution);
}

const stateOf = (status: string | undefined): string =>
  (status ?? "").replace(/^(TOOL_CALL|SUB_AGENT|EXECUTION)_/, "").toLowerCase();

export function spansOf(execution: Execution): Spans {
  const { status, metadata } = execution;
  const created = status.audit?.spec_audit?.created_at ?? status.messages?.[0]?.timestamp;
  const over = ended(status.phase);
  const spans: Span[] = [];
  if (created) {
    const end = status.started_at ?? (over ? status.completed_at : undefined);
    spans.push({ id: "queue", kind: "queue", name: "waits in the queue", start: created, end, state: end ? "completed" : "running" });
  }
  if (status.started_at)
    spans.push({ id: metadata.id, kind: "run", name: "run", start: status.started_at, end: status.completed_at, state: stateOf(status.phase) });
  const subs = new Map((status.sub_agent_executions ?? []).map((sub) => [sub.id, sub]));
  for (const call of status.tool_calls ?? []) {
    if (!call.started_at) continue;
    const sub = subs.get(call.id);
    spans.push({
      id: call.id,
      kind: sub || call.component_metadata?.component_type === "subagent" ? "sub_agent" : "tool",
      name: sub?.name ?? nameOf(call),
      start: sub?.started_at ?? call.started_at,
      end: call.completed_at ?? (over ? status.completed_at : undefined),
      parentId: call.component_metadata?.metadata?.scope,
      state: stateOf(call.status),
    });
  }
  return { spans, marks: [] };
}

export function nameOf(call: ToolCall): string {
  const type = call.args?.["subagent_type"];
  if (typeof type === "string") return type;
  const shown = call.component_metadata?.metadata?.display_name;
  return shown && shown !== call.name ? `${call.name} · ${shown}` : call.name;
}
