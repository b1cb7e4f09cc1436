// Reads an execution through a connection that breaks after every few bytes; tells what was read. In Node or a browser.
export async function resumed({ AgentRunner, Refused }, url, key) {
  let calls = 0;
  const cut = async (...given) => {
    const answer = await fetch(...given);
    if (!answer.headers.get("content-type").includes("event-stream")) return answer;
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
  const all = async (runner, id) => {
    const told = [];
    for await (const event of runner.events(id, { after: "0" })) told.push(event);
    return told;
  };
  const runner = new AgentRunner({ url, key, fetch: cut, pauseMs: 1 });
  const { metadata } = await runner.create({ message: "$ echo hi" });
  const told = await all(runner, metadata.id);
  const whole = await all(new AgentRunner({ url, key }), metadata.id);
  const refused = await runner.get("aex-none").catch((error) => error);
  const ticket = await runner.ticket(metadata.id);
  return {
    told,
    whole,
    calls,
    refused: { is: refused instanceof Refused, code: refused.code, next: refused.next_step },
    silent: await silent(AgentRunner, url, key, metadata.id),
    changed: await changed(AgentRunner, url, key, metadata.id),
    ticket: ticket.url,
  };
}

/** A stream that stays open and says nothing is left, and the next one read; how many there were. */
async function silent(AgentRunner, url, key, id) {
  let calls = 0;
  const dumb = async (path, given) => {
    if (++calls > 2) return fetch(path, given);
    const body = new ReadableStream({ start: (out) => given.signal.addEventListener("abort", () => out.error(given.signal.reason)) });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  };
  const runner = new AgentRunner({ url, key, fetch: dumb, pauseMs: 1, quietMs: 300 });
  const names = [];
  for await (const event of runner.events(id)) names.push(event.name);
  return { calls, names };
}

/** The changes of the list through a connection that breaks before anything is told: the page, then the page again. */
async function changed(AgentRunner, url, key, id) {
  let streams = 0;
  const broken = async (path, given) => {
    const answer = await fetch(path, given);
    if (!path.includes("/changes") || ++streams > 1) return answer;
    await answer.body.cancel();
    return new Response(new ReadableStream({ start: (out) => out.error(new Error("broken")) }), answer);
  };
  const told = [];
  for await (const event of new AgentRunner({ url, key, fetch: broken, pauseMs: 1 }).changes()) {
    told.push(event.name);
    if (event.name === "rows" && !event.data.executions.some((row) => row.id === id)) throw new Error("the row is missing");
    if (event.name === "counts") return { streams, told };
  }
}
