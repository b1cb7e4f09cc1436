// The rows of the list: one page of summaries, then what changed, pushed by the server. Where it cannot push (another
// version behind the same address while servers are replaced), the page asks again every few seconds.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Filters } from "../address";
import { Refused, query, read } from "../wire/api";
import { eventsOf, pause } from "../wire/stream";
import type { Execution, Row } from "../wire/types";
import { codeIn } from "../words";

export const PAGE_SIZE = 50;
const ASKED_EVERY_MS = 3000;
/** A row that no longer matches is not always told of; the whole page is read again so often. */
const WHOLE_EVERY_MS = 30_000;

export interface Counts {
  phases: Record<string, number>;
  more?: boolean;
}

export interface Rows {
  rows: Row[];
  next: string;
  counts: Counts | null;
  problem: string;
  /** `push`: changes arrive by themselves; `ask`: they are asked for; empty until the first answer. */
  live: "" | "push" | "ask";
  refresh: () => void;
}

let summaries = true;

const asked = (filters: Filters): Record<string, string | string[] | undefined> => ({
  phase: filters.phase,
  code: filters.code,
  agent: filters.agent,
  graph: filters.graph,
  session: filters.session,
  label: filters.label,
  created_after: filters.after,
  created_before: filters.before,
  q: filters.q,
  waiting_for_input: filters.waiting ? "true" : undefined,
});

interface Page {
  rows: Row[];
  next: string;
}

export async function readPage(filters: Filters, signal?: AbortSignal, size = PAGE_SIZE): Promise<Page> {
  const given = { ...asked(filters), page_size: String(size), page_token: filters.page };
  if (summaries) {
    try {
      const page = await read<{ executions?: Row[]; nextPageToken?: string }>(
        `/v1/executions${query({ ...given, view: "summary" })}`,
        { signal },
      );
      if (page.executions) return { rows: page.executions, next: page.nextPageToken ?? "" };
      summaries = false;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 400 || !error.message.includes("view")) throw error;
      summaries = false;
    }
  }
  const older = { ...given, session_id: filters.session, phase: filters.phase[0], session: undefined };
  const page = await read<{ entries: Execution[]; next_page_token: string }>(`/v1/executions${query(older)}`, { signal });
  return { rows: page.entries.map(rowOf), next: page.next_page_token };
}

/** A row from the brief form of an execution, which knows less. */
export function rowOf(execution: Execution): Row {
  const { metadata, spec, status } = execution;
  return {
    id: metadata.id,
    phase: status.phase,
    code: codeIn(status.error),
    message: (spec.message ?? "").slice(0, 120),
    agent: spec.agent_id,
    graph: metadata.annotations?.["agent-runner/graph"],
    sessionId: spec.session_id,
    createdAt: status.audit?.spec_audit?.created_at,
    startedAt: status.started_at,
    endedAt: status.completed_at,
    labels: metadata.labels,
    waitingForInput: execution.waiting_for_input,
  };
}

/** What is kept of the rows when some changed: newest first, one page of them, only those that still match. */
export function merged(rows: Row[], changed: { executions?: Row[]; gone?: string[] }, filters: Filters): Row[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  for (const id of changed.gone ?? []) byId.delete(id);
  for (const row of changed.executions ?? []) {
    const matches = !filters.phase.length || filters.phase.includes(row.phase);
    if (!matches) byId.delete(row.id);
    // A page that is not the first one is a stretch of the past: what is new belongs above it.
    else if (!filters.page || byId.has(row.id)) byId.set(row.id, row);
  }
  const all = [...byId.values()];
  all.sort((a, b) => (b.createdAt ?? "").localeCompare(a.createdAt ?? "") || b.id.localeCompare(a.id));
  return all.slice(0, Math.max(PAGE_SIZE, rows.length && filters.page ? rows.length : 0));
}

const NOTHING = { rows: [] as Row[], next: "", counts: null, problem: "", live: "" as const };

export function useRows(filters: Filters): Rows {
  const name = JSON.stringify(filters);
  const [state, set] = useState<Omit<Rows, "refresh">>(NOTHING);
  const again = useRef<() => void>(() => {});
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    let pushed = false;
    const update = (change: Partial<Omit<Rows, "refresh">>): void => {
      if (!signal.aborted) set((was) => ({ ...was, ...change }));
    };
    const whole = async (): Promise<void> => {
      try {
        const [page, counts] = await Promise.all([readPage(filters, signal), readCounts(filters, signal)]);
        update({ ...page, counts, problem: "", live: pushed ? "push" : "ask" });
      } catch (error) {
        if (!signal.aborted) update({ problem: (error as Error).message });
      }
    };
    const follow = async (): Promise<void> => {
      while (!signal.aborted) {
        try {
          const path = `/v1/executions/changes${query(asked(filters))}`;
          for await (const events of eventsOf(path, { signal })) {
            if (!pushed) update({ live: "push" });
            pushed = true;
            for (const event of events) {
              if (event.name === "rows")
                set((was) => (signal.aborted ? was : { ...was, problem: "", rows: merged(was.rows, event.data, filters) }));
              if (event.name === "counts") update({ counts: event.data });
            }
          }
        } catch (error) {
          if (signal.aborted) return;
          if (error instanceof Refused && [400, 404, 405].includes(error.status)) return;
        }
        pushed = false;
        await pause(1000);
        if (!signal.aborted) await whole();
      }
    };
    let last = performance.now();
    const tick = setInterval(() => {
      if (document.hidden || performance.now() - last < (pushed ? WHOLE_EVERY_MS : ASKED_EVERY_MS)) return;
      last = performance.now();
      void whole();
    }, 500);
    set((was) => ({ ...NOTHING, counts: was.counts, live: was.live }));
    again.current = () => void whole();
    void whole().then(follow);
    return () => {
      stop.abort();
      clearInterval(tick);
    };
  }, [name]);
  return { ...state, refresh: () => again.current() };
}

let counted = true;

/** Null where the server cannot count. */
async function readCounts(filters: Filters, signal: AbortSignal): Promise<Counts | null> {
  if (!counted) return null;
  try {
    return await read<Counts>(`/v1/executions/counts${query({ ...asked(filters), phase: undefined })}`, { signal });
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
    counted = false;
    return null;
  }
}
