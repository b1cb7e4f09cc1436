// Why it failed: the text, the class, the node and the line, what to do next, the traceback.

import type { JSX } from "preact";
import type { Execution } from "../wire/types";
import { plain, whole } from "../words";

export function Failure({ execution }: { execution: Execution }): JSX.Element | null {
  const { error, messages } = execution.status;
  if (!error) return null;
  const last = messages?.findLast((message) => message.type === "MESSAGE_SYSTEM" && message.metadata?.error_code);
  const said = last?.metadata ?? {};
  const where = [
    said.error_class,
    said.error_node && `node ${said.error_node}`,
    said.error_at,
    said.last_heartbeat && `last heartbeat ${whole(said.last_heartbeat)}`,
  ].filter(Boolean);
  return (
    <section class="note bad failure" role="alert" aria-label="The error">
      <p class="lines">{plain(error)}</p>
      {where.length > 0 && <p class="where">{where.join(" · ")}</p>}
      {said.original_error && said.original_error !== error && <p class="lines where">{said.original_error}</p>}
      {said.next_step && (
        <p>
          <b>Next: </b>
          {said.next_step}
        </p>
      )}
      {said.traceback && (
        <details>
          <summary>Traceback</summary>
          <pre>{said.traceback}</pre>
        </details>
      )}
    </section>
  );
}
