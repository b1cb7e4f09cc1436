// Workers and queues as the server tells them; only the workers where it does not know more.

import { useEffect, useState } from "preact/hooks";
import { Refused, read } from "../wire/api";
import type { Overview, Worker } from "../wire/types";

const ASKED_EVERY_MS = 3000;
let whole = true;

interface OldWorker {
  name: string;
  role: string;
  queue: string;
  slots: number;
  busy: number;
  state: string;
  sandbox?: string;
  not_taking?: string;
  exit_text?: string;
  last_seen_at?: string;
}

export interface Presence {
  /** Workers that run executions and are online. */
  online: number;
  busy: number;
  slots: number;
  /** What is to be said of workers whose commands have no walls. */
  walls: string[];
  failures: string[];
}

interface Told {
  workers: OldWorker[];
  startup_failures: { [queue: string]: { text: string; at?: string } };
}
const unwalled = (said: string): boolean => /^(not isolated|a user of its own)/.test(said);

export async function readPresence(signal: AbortSignal): Promise<Presence> {
  const { workers, startup_failures } = await read<Told>("/v1/workers", { signal });
  const online = workers.filter((worker) => worker.role === "worker" && worker.state === "online");
  return {
    online: online.length,
    busy: online.reduce((sum, worker) => sum + worker.busy, 0),
    slots: online.reduce((sum, worker) => sum + worker.slots, 0),
    walls: [...new Set(online.map((worker) => worker.sandbox ?? "").filter(unwalled))],
    failures: Object.values(startup_failures).map((failure) => failure.text),
  };
}

const noteOf = (worker: OldWorker): string =>
  [unwalled(worker.sandbox ?? "") && `Its commands are ${worker.sandbox}.`, worker.not_taking, worker.exit_text].filter(Boolean).join("\n");

async function readOverview(signal: AbortSignal): Promise<Overview> {
  if (whole) {
    try {
      const [found, told] = await Promise.all([
        read<Overview & { failedStarts?: { queue: string; at?: string; text: string }[] }>("/v1/overview", { signal }),
        read<Told>("/v1/workers", { signal }),
      ]);
      const notes = new Map(told.workers.map((worker) => [worker.name, noteOf(worker)]));
      const alone = (found.failedStarts ?? []).map((failure): Worker => ({
        id: "a worker that did not start",
        queue: failure.queue,
        slots: 0,
        busy: 0,
        online: false,
        lastFailedStart: failure,
      }));
      return { ...found, workers: [...found.workers.map((worker) => ({ ...worker, note: notes.get(worker.id) })), ...alone] };
    } catch (error) {
      if (!(error instanceof Refused) || ![404, 405].includes(error.status)) throw error;
      whole = false;
    }
  }
  const { workers, startup_failures } = await read<Told>("/v1/workers", { signal });
  const rows = workers.map((worker): Worker => ({
    id: worker.name,
    queue: worker.queue,
    slots: worker.slots,
    busy: worker.busy,
    online: worker.state === "online",
    lastSeen: worker.last_seen_at,
    note: noteOf(worker),
  }));
  for (const [queue, failure] of Object.entries(startup_failures))
    rows.push({ id: "a worker that did not start", queue, slots: 0, busy: 0, online: false, lastFailedStart: failure });
  return { workers: rows, queues: [] };
}

/** Asked for again and again while the page is seen. */
export function useAsked<T>(ask: (signal: AbortSignal) => Promise<T>, everyMs: number): { value: T | null; problem: string } {
  const [state, set] = useState<{ value: T | null; problem: string }>({ value: null, problem: "" });
  useEffect(() => {
    const stop = new AbortController();
    const once = (): void => {
      if (document.hidden) return;
      ask(stop.signal)
        .then((value) => set({ value, problem: "" }))
        .catch((error: Error) => stop.signal.aborted || set((was) => ({ ...was, problem: error.message })));
    };
    once();
    const timer = setInterval(once, everyMs);
    document.addEventListener("visibilitychange", once);
    addEventListener("key", once);
    return () => {
      stop.abort();
      clearInterval(timer);
      document.removeEventListener("visibilitychange", once);
      removeEventListener("key", once);
    };
  }, []);
  return state;
}

export function useOverview(): { overview: Overview | null; problem: string } {
  const { value, problem } = useAsked(readOverview, ASKED_EVERY_MS);
  return { overview: value, problem };
}
