// A program that reads both streams. Each `@ts-expect-error` is a mistake that the types must refuse.
import { AgentRunner, Refused, type ToolCallRow, type UpdateEvent } from "./client/agent-runner.js";

const runner = new AgentRunner({ url: "http://127.0.0.1:8080", key: "key" });
// @ts-expect-error: a client has an address
new AgentRunner({});

const calls: ToolCallRow[] = [];
function told(row: UpdateEvent): string {
  switch (row.kind) {
    case "text":
      // @ts-expect-error: no such field
      void row.payload.name;
      return row.payload.text;
    case "tool_call":
      calls.push(row);
      return row.payload.name ?? "";
    case "phase":
      // @ts-expect-error: no such phase
      return row.payload.phase === "EXECUTION_LOST" ? "" : row.payload.phase;
    case "todos":
      return row.payload.todos.map((todo) => todo.content).join();
    default:
      return row.kind;
  }
}

for await (const event of runner.events("aex-1", { after: 3 })) {
  if (event.name === "snapshot") console.log(event.id, event.data.execution.status.messages?.[0]?.content);
  if (event.name === "update") console.log(told(event.data), event.data.seq);
  // @ts-expect-error: errors are thrown
  if (event.name === "error") continue;
  if (event.name === "end") console.log(event.data.phase, event.data.error_code);
}
for await (const event of runner.changes({ phase: "EXECUTION_FAILED" })) {
  if (event.name === "rows") for (const row of event.data.executions) console.log(row.id, row.tokens?.input);
  else console.log(event.data.phases.EXECUTION_FAILED);
}
const { url }: { url: string } = await runner.ticket("aex-1");
try {
  console.log((await runner.get("aex-1")).metadata.id, url);
} catch (error) {
  if (error instanceof Refused) console.log(error.code, error.next_step, error.passing);
}
