// A client for the event streams of Agent Runner, for Node 20 and browsers. One file, no dependency.
//
//   const runner = new AgentRunner({ url, key });
//   const { metadata } = await runner.create({ message: "hello" });
//   for await (const event of runner.events(metadata.id)) console.log(event.name, event.data);
//
// A stream that breaks goes on by itself behind the last event that was read: nothing is missing, nothing comes twice.

/** An answer that is not what was asked for: `code`, `detail` and `next_step` of the server. */
export class Refused extends Error {
  constructor(status, problem) {
    super(`${problem.detail ?? status} ${problem.next_step ?? ""}`.trim());
    Object.assign(this, { name: "Refused", status, code: problem.code, next_step: problem.next_step });
  }
}

export class AgentRunner {
  constructor({ url, key, retries = 20, pauseMs = 250, fetch: call = (...given) => fetch(...given) }) {
    Object.assign(this, { url: url.replace(/\/+$/, ""), key, retries, pauseMs, call });
  }

  /** Begins an execution; `body` is that of POST /v1/executions. */
  create(body, { idempotencyKey = crypto.randomUUID() } = {}) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey };
    return this.#json("/v1/executions", { method: "POST", headers, body: JSON.stringify(body) });
  }

  get(id) {
    return this.#json(`/v1/executions/${encodeURIComponent(id)}`);
  }

  /** Asks for its end, which arrives on the stream. */
  cancel(id) {
    return this.#json(`/v1/executions/${encodeURIComponent(id)}/cancel`, { method: "POST" });
  }

  /** The events of an execution until its end: {name, id, data}. `after`: the id of the last one that was read. */
  async *events(id, { after = "", signal } = {}) {
    const path = `/v1/executions/${encodeURIComponent(id)}/events`;
    let failed = 0;
    for (;;) {
      try {
        const headers = after ? { "Last-Event-ID": String(after) } : {};
        const answer = await this.#sent(path, { headers, signal });
        for await (const event of frames(answer.body)) {
          if (event.name === "error") throw new Refused(event.data.status, event.data);
          failed = 0;
          after = event.id;
          yield event;
          if (event.name === "end") return;
        }
      } catch (error) {
        if (signal?.aborted || (error instanceof Refused && error.status < 500 && error.status !== 429)) throw error;
        if (failed >= this.retries) throw error;
      }
      if (failed++ > this.retries) throw new Error(`the stream of ${id} broke ${failed} times`);
      await new Promise((go) => setTimeout(go, Math.min(this.pauseMs * failed, 5000)));
      signal?.throwIfAborted();
    }
  }

  async #json(path, given = {}) {
    return (await this.#sent(path, given)).json();
  }

  async #sent(path, { headers, ...given }) {
    const own = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const answer = await this.call(this.url + path, { ...given, headers: { ...own, ...headers } });
    if (answer.ok) return answer;
    throw new Refused(answer.status, await answer.json().catch(() => ({})));
  }
}

/** The server-sent events in a body. What is cut off in the middle of an event is not told. */
async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += value;
      const whole = held.split("\n\n");
      held = whole.pop();
      for (const text of whole) {
        const fields = Object.fromEntries(text.split("\n").map((line) => line.split(/:\s?(.*)/s)));
        if (fields.data) yield { name: fields.event, id: fields.id, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
