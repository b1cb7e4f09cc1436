// Who could take an execution now, what waits, and how the last hour went.

import type { JSX } from "preact";
import { Note, useNow } from "../parts/parts";
import type { Overview, Worker } from "../wire/types";
import { between, duration, moment, whole } from "../words";
import { Curve } from "./Curve";
import { useOverview } from "./overview";

export function Workers(): JSX.Element {
  const { overview, problem } = useOverview();
  const now = useNow(true);
  if (!overview)
    return (
      <main id="view">{problem ? <Note>{problem}</Note> : <p class="empty">Reading …</p>}</main>
    );
  const online = overview.workers.filter((worker) => worker.online);
  const gone = overview.workers.filter((worker) => !worker.online && !worker.lastFailedStart);
  return (
    <main id="view" class="workers-view">
      <h1>Workers and queues</h1>
      {problem && <Note>{problem}</Note>}
      {!online.length && <Note kind="warn">No worker is online: executions wait until one is, at most their schedule-to-start time.</Note>}
      {overview.lastHour && <Hour hour={overview.lastHour} />}
      {overview.queues.length > 0 && <Queues overview={overview} />}
      <h2>Workers</h2>
      <Table workers={[...online, ...overview.workers.filter((worker) => !worker.online && worker.lastFailedStart)]} now={now} />
      {!online.length && <p class="empty">None is online.</p>}
      {gone.length > 0 && (
        <details class="gone">
          <summary>{gone.length} that are gone</summary>
          <Table workers={gone} now={now} />
        </details>
      )}
    </main>
  );
}

function Table({ workers, now }: { workers: Worker[]; now: number }): JSX.Element | null {
  if (!workers.length) return null;
  return (
    <table aria-label="Workers">
      <thead>
        <tr>
          <th>Worker</th>
          <th>State</th>
          <th>Slots in use</th>
          <th>Queue</th>
          <th class="wide">Last seen</th>
        </tr>
      </thead>
      <tbody>
        {workers.map((worker) => (
          <Line key={worker.id} worker={worker} now={now} />
        ))}
      </tbody>
    </table>
  );
}

function Line({ worker, now }: { worker: Worker; now: number }): JSX.Element {
  const ago = between(worker.lastSeen, now);
  const failed = worker.lastFailedStart;
  return (
    <>
      <tr>
        <td>
          {worker.id}
          {worker.note && <div class="dim lines">{worker.note}</div>}
        </td>
        <td>
          <span class={`state ${worker.online ? "completed" : ""}`}>{worker.online ? "online" : "offline"}</span>
          {worker.pool && <span class="dim"> {worker.pool}</span>}
        </td>
        <td>
          <meter min={0} max={Math.max(worker.slots, 1)} value={worker.busy} aria-label={`${worker.busy} of ${worker.slots} slots in use`} />
          <span class="number">
            {worker.busy} / {worker.slots}
          </span>
        </td>
        <td>{worker.queue}</td>
        <td class="wide" title={whole(worker.lastSeen)}>
          {ago !== undefined && `${duration(Math.max(ago, 0))} ago`}
        </td>
      </tr>
      {failed && (
        <tr>
          <td colSpan={5}>
            <div class="note bad">
              Its last start failed {failed.at && moment(failed.at, now)}
              <pre class="lines">{failed.text}</pre>
            </div>
          </td>
        </tr>
      )}
    </>
  );
}

function Queues({ overview }: { overview: Overview }): JSX.Element {
  return (
    <>
      <h2>Queues</h2>
      <table aria-label="Queues">
        <thead>
          <tr>
            <th>Queue</th>
            <th>Waiting</th>
            <th>Oldest waits for</th>
          </tr>
        </thead>
        <tbody>
          {overview.queues.map((queue) => (
            <tr key={queue.name}>
              <td>{queue.name}</td>
              <td class="number">{queue.waiting}</td>
              <td class="number">{queue.waiting ? duration(queue.oldestWaitingSeconds) : ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Hour({ hour }: { hour: NonNullable<Overview["lastHour"]> }): JSX.Element {
  const minutes = hour.bucketSeconds / 60;
  const per = minutes === 1 ? "a minute" : `in ${minutes} minutes`;
  const named = (...names: string[]): number[] => names.map((name) => hour.ended[name]).find(Boolean) ?? [];
  return (
    <section aria-label="The last hour" class="hour">
      <Curve
        title={`Started and ended ${per}`}
        bucketSeconds={hour.bucketSeconds}
        lines={[
          { name: "started", kind: "started", values: hour.started },
          { name: "completed", kind: "completed", values: named("COMPLETED", "EXECUTION_COMPLETED") },
        ]}
      />
      <Curve
        title={`Failed and cancelled ${per}`}
        bucketSeconds={hour.bucketSeconds}
        lines={[
          { name: "failed", kind: "failed", values: named("FAILED", "EXECUTION_FAILED") },
          { name: "cancelled", kind: "cancelled", values: named("CANCELLED", "EXECUTION_CANCELLED") },
        ]}
      />
      <Curve
        title="Wait for a worker"
        seconds
        bucketSeconds={hour.bucketSeconds}
        lines={[
          { name: "half waits less", kind: "started", values: hour.waitP50Seconds ?? [] },
          { name: "95 % wait less", kind: "cancelled", values: hour.waitP95Seconds ?? [] },
        ]}
      />
      <Curve
        title="Run, from start to end"
        seconds
        bucketSeconds={hour.bucketSeconds}
        lines={[{ name: "half run less", kind: "completed", values: hour.runP50Seconds ?? [] }]}
      />
    </section>
  );
}
