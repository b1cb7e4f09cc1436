// The rows of an execution's log, as they are stored, from the first one on.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Virtual } from "../conversation/Virtual";
import { Note } from "../parts/parts";
import { pathOf } from "../wire/api";
import { eventsOf } from "../wire/stream";
import type { LogRow } from "../wire/types";
import { cut } from "../words";

export function LogView({ id }: { id: string }): JSX.Element {
  const [rows, set] = useState<LogRow[]>([]);
  const [problem, tell] = useState("");
  const [kind, choose] = useState("");
  useEffect(() => {
    const stop = new AbortController();
    const seen: LogRow[] = [];
    const follow = async (): Promise<void> => {
      for await (const events of eventsOf(pathOf(id, "/events"), { headers: { "Last-Event-ID": "0" }, signal: stop.signal })) {
        for (const event of events) {
          if (event.name === "update") seen.push(event.data);
          if (event.name === "error") tell(event.data.detail);
        }
        set([...seen]);
      }
    };
    follow().catch((error: Error) => stop.signal.aborted || tell(error.message));
    return () => stop.abort();
  }, [id]);
  const kinds = [...new Set(rows.map((row) => row.kind))].sort();
  const shown = kind ? rows.filter((row) => row.kind === kind) : rows;
  return (
    <section class="log" aria-label="Log rows">
      {problem && <Note kind="warn">{problem}</Note>}
      <p class="line">
        <select aria-label="Kind of rows" onChange={(event) => choose(event.currentTarget.value)}>
          <option value="">all kinds</option>
          {kinds.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        <span class="dim">{shown.length} rows</span>
      </p>
      <Virtual
        label="Log rows"
        length={shown.length}
        keyOf={(n) => String(shown[n]?.seq)}
        guess={24}
        follow={false}
        version={shown.length}
        draw={(n) => {
          const row = shown[n];
          return row ? <Row row={row} /> : null;
        }}
      />
    </section>
  );
}

function Row({ row }: { row: LogRow }): JSX.Element {
  const text = JSON.stringify(row.payload);
  return (
    <details class="log-row">
      <summary>
        <span class="seq dim">{row.seq}</span>
        <span class="at dim">{row.at.slice(11, 23)}</span>
        <b>{row.kind}</b>
        <code>{cut(text, 240)}</code>
      </summary>
      <pre class="block">{cut(JSON.stringify(row, null, 2), 100_000)}</pre>
    </details>
  );
}
