// Follow one execution until its end. The connection is taken up again after the last id that was seen.

import { useEffect, useRef, useState } from "preact/hooks";
import { Refused, pathOf, read } from "../wire/api";
import { eventsOf, pause } from "../wire/stream";
import type { Execution } from "../wire/types";
import { Fold } from "./fold";

/** Asking again would not help: no execution has this id, or it can be none. */
const GONE = [400, 404];

export interface Followed {
  fold: Fold | null;
  /** No execution has this id: nothing else is shown, and nothing is asked again. */
  gone: string;
  /** Why nothing new arrives now. The page goes on trying. */
  problem: string;
  live: boolean;
  version: number;
}

export function useFollowed(id: string): Followed {
  const [, draw] = useState(0);
  const state = useRef<Followed & { id: string }>({ id: "", fold: null, gone: "", problem: "", live: false, version: 0 });
  if (state.current.id !== id) state.current = { id, fold: null, gone: "", problem: "", live: false, version: 0 };
  useEffect(() => {
    const stop = new AbortController();
    const mine = state.current;
    let drawn = 0;
    const changed = (change: Partial<Followed>): void => {
      Object.assign(mine, change);
      mine.version += 1;
      // Many rows may come in one piece: the page is drawn once per frame at the most.
      if (!drawn && !stop.signal.aborted)
        drawn = setTimeout(() => {
          drawn = 0;
          if (!stop.signal.aborted) draw((n) => n + 1);
        }, 16) as unknown as number;
    };
    void followed(id, stop.signal, mine, changed);
    return () => {
      stop.abort();
      clearTimeout(drawn);
    };
  }, [id]);
  return state.current;
}

async function followed(id: string, signal: AbortSignal, mine: Followed, changed: (change: Partial<Followed>) => void): Promise<void> {
  let last: string | null = null;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = last === null ? {} : { "Last-Event-ID": last };
      for await (const events of eventsOf(pathOf(id, "/events"), { headers, signal })) {
        for (const event of events) {
          last = event.id ?? last;
          if (event.name === "snapshot") mine.fold = new Fold(event.data.execution);
          if (event.name === "update") mine.fold?.apply(event.data);
          if (event.name === "error") {
            last = null;
            throw new Refused(event.data.detail, 0);
          }
          if (event.name === "end") {
            // Questions, times and the whole answer are the server's to say.
            const execution = await read<Execution>(pathOf(id), { signal });
            const progress = mine.fold?.progress ?? [];
            mine.fold = Object.assign(new Fold(execution), { progress });
            changed({ problem: "", live: false });
            return;
          }
        }
        changed({ problem: "", live: true });
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && GONE.includes(error.status)) {
        changed({ fold: null, gone: error.message, live: false });
        return;
      }
      changed({ problem: (error as Error).message, live: false });
    }
    await pause(1000);
  }
}
