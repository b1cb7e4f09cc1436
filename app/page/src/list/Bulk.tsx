// What is done to several executions at once. One that refuses stops nothing; the answer says which and why.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Refused, call, pathOf, send } from "../wire/api";
import type { Row } from "../wire/types";
import { ended, short } from "../words";

type Verb = "cancel" | "redrive" | "delete";
const FITS: Record<Verb, (row: Row) => boolean> = {
  cancel: (row) => !ended(row.phase),
  redrive: (row) => ["FAILED", "CANCELLED"].includes(short(row.phase)),
  delete: (row) => ended(row.phase),
};
const DONE: Record<Verb, string> = { cancel: "asked to end", redrive: "started again", delete: "deleted" };

export function Bulk({ rows, clear, changed }: { rows: Row[]; clear: () => void; changed: () => void }): JSX.Element | null {
  const [busy, setBusy] = useState(false);
  const [said, say] = useState("");
  const run = async (verb: Verb): Promise<void> => {
    const fitting = rows.filter(FITS[verb]);
    if (verb === "delete" && !confirm(`Delete ${fitting.length} executions with their logs? This cannot be undone.`)) return;
    setBusy(true);
    try {
      const refused = await doTo(verb, fitting.map((row) => row.id));
      const well = fitting.length - refused.length;
      say([`${well} of ${fitting.length} ${DONE[verb]}.`, ...refused.slice(0, 5)].join("\n"));
      clear();
      changed();
    } catch (error) {
      say((error as Error).message);
    }
    setBusy(false);
  };
  if (!rows.length) return said ? <SaidLine said={said} done={() => say("")} /> : null;
  return (
    <div class="bulk" role="toolbar" aria-label="What is done to the chosen executions">
      <b>{rows.length} chosen</b>
      {(Object.keys(FITS) as Verb[]).map((verb) => {
        const fitting = rows.filter(FITS[verb]).length;
        return (
          <button key={verb} type="button" class={verb === "delete" ? "danger" : ""} disabled={busy || !fitting} onClick={() => run(verb)}>
            {`${verb[0]?.toUpperCase()}${verb.slice(1)}`} {fitting || ""}
          </button>
        );
      })}
      <button type="button" class="quiet" onClick={clear}>
        Choose none
      </button>
    </div>
  );
}

function SaidLine({ said, done }: { said: string; done: () => void }): JSX.Element {
  return (
    <div class="note info" role="status">
      <span class="lines">{said}</span>
      <button type="button" class="quiet" onClick={done}>
        Close
      </button>
    </div>
  );
}

/** What was refused, one line each. */
async function doTo(verb: Verb, ids: string[]): Promise<string[]> {
  try {
    const told = await send<{ results?: { id: string; ok?: boolean; detail?: string; error?: { detail?: string } | string }[] }>(
      `/v1/executions:${verb}`,
      { ids },
    );
    return (told.results ?? []).filter((one) => one.ok === false || one.error).map((one) => `${one.id}: ${textOf(one)}`);
  } catch (error) {
    if (!(error instanceof Refused) || ![404, 405].includes(error.status)) throw error;
  }
  const refused: string[] = [];
  for (const id of ids) {
    try {
      await (verb === "delete" ? call(pathOf(id), { method: "DELETE" }) : send(pathOf(id, `/${verb}`)));
    } catch (error) {
      refused.push(`${id}: ${(error as Error).message}`);
    }
  }
  return refused;
}

const textOf = (one: { detail?: string; error?: { detail?: string } | string }): string =>
  one.detail ?? (typeof one.error === "string" ? one.error : one.error?.detail) ?? "refused";
