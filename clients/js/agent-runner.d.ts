import type { AgentExecution, ChangeEvent, ExecutionEvent } from "./events.js";

export type * from "./events.js";

export declare class Refused extends Error {
  /** The HTTP status; that of an `error` event in a stream. */
  readonly status: number;
  /** The code of the failure (E501), else the name of the gRPC code. */
  readonly code: string | undefined;
  readonly detail: string | undefined;
  /** What to do about it. */
  readonly next_step: string | undefined;
  /** How long the server asks to wait; 0: it does not say. */
  readonly waitMs: number;
  constructor(
    status: number,
    problem: { code?: string; detail?: string; next_step?: string },
    waitMs?: number,
  );
  /** Whether the same call may be answered later. */
  get passing(): boolean;
}

export interface Options {
  /** Where the server is, without a path: `http://127.0.0.1:8080`. */
  url: string;
  key?: string;
  /** How often in a row a stream may break before it is an error. */
  retries?: number;
  /** The pause after the first break; it grows to 5 s. */
  pauseMs?: number;
  /** A stream that says nothing for so long, not even its ping, is broken. */
  quietMs?: number;
  fetch?: typeof fetch;
}

export interface Ticket {
  ticket: string;
  /** The path of the stream, with the ticket in it. */
  url: string;
  expires_at: string;
}

/** An event of an execution. An `error` is thrown as `Refused`. */
export type StreamedEvent = Exclude<ExecutionEvent, { name: "error" }>;

export declare class AgentRunner {
  constructor(options: Options);
  /** Begins an execution; `body` is that of POST /v1/executions. */
  create(body: object, options?: { idempotencyKey?: string }): Promise<AgentExecution>;
  get(id: string): Promise<AgentExecution>;
  /** Asks for its end, which arrives on the stream. */
  cancel(id: string): Promise<AgentExecution>;
  /** For the `EventSource` of somebody who has no key. */
  ticket(id: string): Promise<Ticket>;
  /** The events of an execution until its end. `after`: the id of the last one that was read. */
  events(
    id: string,
    options?: { after?: string | number; signal?: AbortSignal },
  ): AsyncGenerator<StreamedEvent, void, undefined>;
  /** What changes in a list, without an end. `query` as in GET /v1/executions. */
  changes(
    query?: Record<string, string>,
    options?: { signal?: AbortSignal },
  ): AsyncGenerator<ChangeEvent, void, undefined>;
}
