// A client for the event streams of Agent Runner, for Node 20 and browsers. One file, no dependency.
//
//   const runner = new AgentRunner({ url, key });
//   const { metadata } = await runner.create({ message: "hello" });
//   for await (const event of runner.events(metadata.id)) console.log(event.name, event.data);
//
// A stream that breaks, or from which nothing comes, goes on by itself behind the last event that was read: nothing is
// missing, nothing comes twice. The types of the events are in events.d.ts.

const PAUSE_MOST_MS = 5000;

/** An answer that is not what was asked for: `code`, `detail` and `next_step` of the server. */
export class Refused extends Error {
  constructor(status, problem, waitMs = 0) {
    super(`${problem.detail ?? status} ${problem.next_step ?? ""}`.trim());
    Object.assign(this, { name: "Refused", status, code: problem.code, detail: problem.detail, waitMs });
    this.next_step = problem.next_step;
  }

  /** Whether the same call may be answered later. */
  get passing() {
    return this.status >= 500 || this.status === 429;
  }
}

export class AgentRunner {
  /**
   * `retries`: how often in a row a stream may break before it is an error. `quietMs`: a stream that says nothing for so
   * long, not even its ping, is broken.
   */
  constructor({ url, key, retries = 20, pauseMs = 250, quietMs = 60000, fetch: call = (...given) => fetch(...given) }) {
    Object.assign(this, { url: url.replace(/\/+$/, ""), key, retries, pauseMs, quietMs, call });
  }

  /** Begins an execution; `body` is that of POST /v1/executions. */
  create(body, { idempotencyKey = unique() } = {}) {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey };
    return this.#json("/v1/executions", { method: "POST", headers, body: JSON.stringify(body) });
  }

  get(id) {
    return this.#json(pathOf(id));
  }

  /** Asks for its end, which arrives on the stream. */
  cancel(id) {
    return this.#json(pathOf(id, "/cancel"), { method: "POST" });
  }

  /** {ticket, url, expires_at}: for the `EventSource` of somebody who has no key. */
  ticket(id) {
    return this.#json(pathOf(id, "/stream-ticket"), { method: "POST" });
  }

  /** The events of an execution until its end: {name, id, data}. `after`: the id of the last one that was read. */
  async *events(id, { after = "", signal } = {}) {
    const opened = (headers, given) => this.#sent(pathOf(id, "/events"), { headers, ...given });
    const begin = (given) => opened(after ? { "Last-Event-ID": String(after) } : {}, given);
    for await (const event of this.#lasting(`the stream of ${id}`, begin, signal)) {
      if (event.name !== "error") after = event.id;
      yield event;
      if (event.name === "end") return;
    }
  }

  /**
   * What changes in a list, without an end: {name: "rows" | "counts", data}. `query` as in GET /v1/executions. The first
   * page is told at the beginning and again after each break, so that what changed meanwhile is not missing.
   */
  async *changes(query = {}, { signal } = {}) {
    const asked = new URLSearchParams(query);
    let page;
    const begin = async (given) => {
      const answer = await this.#sent(`/v1/executions/changes?${asked}`, given);
      page = await this.#json(`/v1/executions?${new URLSearchParams([...asked, ["view", "summary"]])}`, given);
      return answer;
    };
    const whole = () => ({ name: "rows", id: undefined, data: { executions: page.executions } });
    yield* this.#lasting("the changes", begin, signal, whole);
  }

  /** The events of `begin()`'s answer; of another answer whenever one breaks. */
  async *#lasting(what, begin, signal, first) {
    for (let failed = 0; ; failed++) {
      let wait = Math.min(this.pauseMs * (failed + 1), PAUSE_MOST_MS);
      const here = new AbortController();
      const stop = () => here.abort(signal.reason);
      signal?.throwIfAborted();
      signal?.addEventListener("abort", stop);
      let quiet;
      const heard = () => {
        clearTimeout(quiet);
        quiet = setTimeout(() => here.abort(new Error(`nothing came for ${this.quietMs} ms`)), this.quietMs);
      };
      try {
        heard();
        const answer = await begin({ signal: here.signal });
        if (first) yield first();
        for await (const event of frames(answer.body, heard)) {
          if (event.name === "error") throw new Refused(event.data.status, event.data);
          failed = 0;
          clearTimeout(quiet); // who reads may take his time
          yield event;
          heard();
        }
      } catch (error) {
        if (signal?.aborted || (error instanceof Refused && !error.passing) || failed >= this.retries) throw error;
        wait = Math.max(wait, error.waitMs ?? 0);
      } finally {
        clearTimeout(quiet);
        signal?.removeEventListener("abort", stop);
        here.abort();
      }
      if (failed >= this.retries) throw new Error(`${what} broke ${failed + 1} times`);
      await new Promise((go) => setTimeout(go, wait));
    }
  }

  async #json(path, given = {}) {
    return (await this.#sent(path, given)).json();
  }

  async #sent(path, { headers, ...given } = {}) {
    const own = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const answer = await this.call(this.url + path, { ...given, headers: { ...own, ...headers } });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem, 1000 * (Number(answer.headers.get("Retry-After")) || 0));
  }
}

const pathOf = (id, rest = "") => `/v1/executions/${encodeURIComponent(id)}${rest}`;

/** Pages that came without TLS have no `randomUUID`. */
const unique = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4)), String).join("-");

/** The server-sent events in a body. What is cut off in the middle of an event is not told. */
async function* frames(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      held += value;
      if (!value.includes("\n")) continue; // a large event comes in many pieces
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
