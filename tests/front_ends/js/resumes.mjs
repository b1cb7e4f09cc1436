// Reads an execution through a connection that breaks after every few bytes; tells what was read.
import { AgentRunner } from "./agent-runner.js";

const [url, key, broken] = process.argv.slice(2);
let calls = 0;
const cut = async (...given) => {
  const answer = await fetch(...given);
  if (broken !== "broken" || !answer.headers.get("content-type").includes("event-stream")) return answer;
  const most = 1500 + 700 * calls++;
  let seen = 0;
  const body = answer.body.pipeThrough(new TransformStream({
    transform(bytes, out) {
      out.enqueue(bytes.subarray(0, Math.max(0, most - seen)));
      seen += bytes.length;
      if (seen > most) out.error(new Error("the connection broke"));
    },
  }));
  return new Response(body, { status: answer.status, headers: answer.headers });
};
const runner = new AgentRunner({ url, key, fetch: cut, pauseMs: 1 });
const { metadata } = await runner.create({ message: "$ echo hi" });
const told = [];
for await (const event of runner.events(metadata.id, { after: "0" })) told.push(event);
const whole = [];
for await (const event of new AgentRunner({ url, key }).events(metadata.id, { after: "0" })) whole.push(event);
const refused = await runner.get("aex-none").catch((error) => ({ code: error.code, next: error.next_step }));
console.log(JSON.stringify({ told, whole, calls, refused }));
