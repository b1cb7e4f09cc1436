// Drives runs with AG-UI's own client, whose verifier throws at the first frame that is out of order.
import { HttpAgent } from "@ag-ui/client";

const [base, key] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}` };
const tell = (name, facts) => console.log(JSON.stringify({ name, ...facts }));
const agent = (name) => new HttpAgent({ url: `${base}/v1/agui/${name}`, headers });
console.error = () => {};

async function run(one, given = {}) {
  const types = [];
  const ends = {};
  await one.runAgent(given, {
    onEvent: ({ event }) => { types.push(event.type); },
    onRunFinishedEvent: ({ event }) => { ends.outcome = event.outcome?.type; },
    onRunErrorEvent: ({ event }) => { ends.code = event.code; ends.next_step = event.metadata.next_step; },
  });
  return { types, ...ends, messages: one.messages, state: one.state, pending: one.pendingInterrupts };
}

const says = (one, content) => one.addMessage({ id: crypto.randomUUID(), role: "user", content });

const tools = agent("agent-runner");
says(tools, "$ echo hi\n@researcher look at it");
tell("tools", await run(tools));
says(tools, "what did I say?");
tell("second", await run(tools));

const asks = agent("approve");
says(asks, "write to bob");
const asked = await run(asks);
tell("asked", asked);
const resume = asked.pending.map(({ id }) => (
  { interruptId: id, status: "resolved", payload: { decisions: [{ type: "approve" }] } }));
tell("answered", await run(asks, { resume }));

const fails = agent("fails");
fails.state = { n: 1 };
tell("fails", await run(fails));

const sums = agent("add_up");
sums.state = { n: 3 };
await run(sums);
tell("sums", await run(sums));

const edits = agent("edits");
says(edits, "hello");
tell("edits", await run(edits));
