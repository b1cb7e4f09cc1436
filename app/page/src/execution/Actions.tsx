// What can be done about an execution now.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { executionAddress, go } from "../address";
import { call, pathOf, send } from "../wire/api";
import type { Execution } from "../wire/types";
import { ended, short } from "../words";

const REDRIVES = [
  ["failed_step", "Redrive from the failed step", "Finished steps and calls are kept; the step that was open begins again."],
  ["start", "Redrive from before it", "As if this run had not been: its steps are made again."],
] as const;

export function Actions({ execution }: { execution: Execution }): JSX.Element {
  const id = execution.metadata.id;
  const [problem, tell] = useState("");
  const [busy, setBusy] = useState(false);
  const run = async (verb: () => Promise<void>): Promise<void> => {
    setBusy(true);
    tell("");
    await verb().catch((error: Error) => tell(error.message));
    setBusy(false);
  };
  const cancel = async (): Promise<void> => {
    await send(pathOf(id, "/cancel"));
  };
  // Secrets went with its end: a redrive that needs some is refused and names them.
  const redrive = (from: string) => async (): Promise<void> => {
    const made = await send<Execution>(pathOf(id, "/redrive"), { from });
    go(executionAddress(made.metadata.id));
  };
  const remove = async (): Promise<void> => {
    if (!confirm("Delete this execution with its log? This cannot be undone.")) return;
    await call(pathOf(id), { method: "DELETE" });
    go("#");
  };
  const over = ended(execution.status.phase);
  return (
    <div class="actions">
      {!over && (
        <button type="button" disabled={busy} onClick={() => run(cancel)}>
          Cancel
        </button>
      )}
      {["FAILED", "CANCELLED"].includes(short(execution.status.phase)) &&
        REDRIVES.map(([from, words, about]) => (
          <button key={from} type="button" title={about} disabled={busy} onClick={() => run(redrive(from))}>
            {words}
          </button>
        ))}
      {over && execution.spec.session_id && !execution.waiting_for_input && (
        <a class="button" href={`#/start?session=${encodeURIComponent(execution.spec.session_id)}`}>
          Go on
        </a>
      )}
      {over && (
        <button type="button" class="quiet danger" disabled={busy} onClick={() => run(remove)}>
          Delete
        </button>
      )}
      {problem && (
        <p class="note bad" role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}
