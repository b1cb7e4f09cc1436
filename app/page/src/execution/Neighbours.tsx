// The executions of the same session before and after this one.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { NO_FILTERS, executionAddress } from "../address";
import { readPage } from "../list/rows";

interface Around {
  before: string | undefined;
  after: string | undefined;
  number: number;
  all: number;
}
const MOST = 100;

export function Neighbours({ id, session, phase }: { id: string; session: string; phase: string }): JSX.Element | null {
  const [around, set] = useState<Around | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    readPage({ ...NO_FILTERS, session }, stop.signal, MOST)
      .then(({ rows }) => {
        const at = rows.findIndex((row) => row.id === id);
        if (at < 0 || stop.signal.aborted) return;
        set({ before: rows[at + 1]?.id, after: rows[at - 1]?.id, number: rows.length - at, all: rows.length });
      })
      .catch(() => {});
    return () => stop.abort();
  }, [id, session, phase]);
  if (!around || around.all < 2) return null;
  return (
    <span class="neighbours">
      {around.before && (
        <a href={executionAddress(around.before)} aria-label="Previous execution of the session" title="Previous execution of the session">
          ‹ previous
        </a>
      )}
      <span class="dim">
        {around.number} of {around.all === MOST ? `${MOST}+` : around.all}
      </span>
      {around.after && (
        <a href={executionAddress(around.after)} aria-label="Next execution of the session" title="Next execution of the session">
          next ›
        </a>
      )}
    </span>
  );
}
