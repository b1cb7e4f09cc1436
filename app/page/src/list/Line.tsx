// One row of the list.

import type { JSX } from "preact";
import { type Filters, executionAddress, listAddress } from "../address";
import { Phase } from "../parts/parts";
import type { Row } from "../wire/types";
import { between, cut, duration, ended, moment, money, tokensIn, whole } from "../words";

interface Given {
  row: Row;
  now: number;
  chosen: boolean;
  toggle: (id: string) => void;
  filters: Filters;
  /** Whether the list has a column of costs. */
  priced: boolean;
}

export function Line({ row, now, chosen, toggle, filters, priced }: Given): JSX.Element {
  const runs = !ended(row.phase);
  const took = row.startedAt ? between(row.startedAt, row.endedAt ?? (runs ? now : undefined)) : undefined;
  const waited = row.waitSeconds ?? between(row.createdAt, row.startedAt ?? row.endedAt ?? (runs ? now : undefined));
  const who = row.graph || row.agent || "";
  const narrow = (change: Partial<Filters>): string => listAddress({ ...filters, page: "", ...change });
  return (
    <tr data-id={row.id} class={chosen ? "chosen" : ""}>
      <td class="pick">
        <input type="checkbox" checked={chosen} aria-label={`Choose ${row.id}`} onChange={() => toggle(row.id)} />
      </td>
      <td class="c-phase">
        <Phase phase={row.phase} waits={row.waitingForInput} />
      </td>
      <td class="c-message">
        <a class="open" href={executionAddress(row.id)}>
          {row.message?.trim() || <span class="dim">no message</span>}
        </a>
        <span class="id dim">
          {row.id}
          {Object.entries(row.labels ?? {}).map(([name, value]) => (
            <a class="label" href={narrow({ label: `${name}:${value}` })}>
              {name}:{value}
            </a>
          ))}
        </span>
      </td>
      <td class="c-agent" title={who}>
        {who && <a href={narrow(row.graph ? { graph: row.graph } : { agent: row.agent ?? "" })}>{cut(who, 22)}</a>}
      </td>
      <td class="c-session" title={row.sessionId}>
        {row.sessionId && <a href={narrow({ session: row.sessionId })}>…{row.sessionId.slice(-6)}</a>}
      </td>
      <td class="c-started" title={whole(row.createdAt)}>
        {moment(row.createdAt, now)}
      </td>
      <td class="c-duration" title={waited === undefined ? "" : `waited ${duration(waited)}`}>
        {took === undefined && row.phase === "EXECUTION_PENDING" ? <span class="dim">waits {duration(waited)}</span> : duration(took ?? waited)}
      </td>
      <td class="c-tokens">{tokensIn(row.tokens)}</td>
      {priced && <td class="c-cost">{money(row.cost)}</td>}
      <td class="c-worker" title={row.worker}>
        {row.worker && cut(row.worker, 20)}
        {(row.attempt ?? 1) > 1 && <span class="dim"> · attempt {row.attempt}</span>}
      </td>
      <td class="c-code">{row.code && <a href={narrow({ code: row.code })}>{row.code}</a>}</td>
    </tr>
  );
}
