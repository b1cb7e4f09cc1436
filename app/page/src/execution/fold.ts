// What the page needs of the fold of a log: a snapshot, then one change per row. At the end the server's own status
// takes its place.

import type { Execution, LogRow, Message, ToolCall } from "../wire/types";

// A payload's form depends on its kind.
type Payload = any;

export class Fold {
  readonly messages: Message[];
  progress: Payload[] = [];
  /** Counts changes of each message, so that a view can skip those that stayed as they were. */
  readonly changes = new WeakMap<Message, number>();
  version = 0;
  private readonly byId = new Map<string, Message>();
  private readonly calls = new Map<string, ToolCall[]>();
  private readonly holders = new Map<string, Message>();

  constructor(readonly execution: Execution) {
    const status = execution.status;
    status.messages ??= [];
    status.tool_calls ??= [];
    status.todos ??= {};
    this.messages = status.messages;
    for (const call of status.tool_calls) this.keep(call);
    for (const message of this.messages) {
      if (message.metadata?.message_id) this.byId.set(message.metadata.message_id, message);
      for (const call of message.tool_calls ?? []) this.keep(call, message);
    }
  }

  apply(row: LogRow): void {
    const { kind, phase, at } = row;
    const payload: Payload = row.payload;
    const status = this.execution.status;
    this.version += 1;
    if (phase) status.phase = phase;
    if (phase === "EXECUTION_IN_PROGRESS") status.started_at ??= at;
    if (payload.error && kind !== "tool_end" && kind !== "tool_edit") status.error = payload.error;
    this.verbs[kind]?.(payload, at);
  }

  private readonly verbs: Record<string, (payload: Payload, at: string) => void> = {
    message: (said, at) => this.message(said, at),
    text: ({ id, text }) => this.edit(id, (message) => (message.content = (message.content ?? "") + text)),
    message_end: ({ id, content, metadata }) =>
      this.edit(id, (message) => {
        if (content !== undefined) message.content = content;
        message.metadata = { ...message.metadata, ...metadata };
      }),
    message_edit: ({ id, content }) =>
      this.edit(id, (message) => {
        message.content = content;
        delete message.metadata?.attachments;
      }),
    message_scope: ({ id, scope }) => this.edit(id, (message) => (message.metadata = { ...message.metadata, scope })),
    message_removed: ({ id }) => {
      const message = this.known(id);
      if (!message) return;
      if (id !== "user") this.remove(message);
      else this.edit(id, () => Object.assign(message, { content: "", metadata: {} }));
    },
    message_moved: ({ id, after }) => {
      const message = this.known(id);
      if (!message) return;
      this.remove(message);
      const behind = this.known(after || "user");
      this.messages.splice(behind ? this.messages.indexOf(behind) + 1 : 0, 0, message);
    },
    tool_call: (said, at) => this.toolCall(said, at),
    tool_end: ({ id, status, result, error }, at) => this.editCalls(id, { status, result, error, completed_at: at }),
    tool_edit: (said) => this.editCalls(said.id, said.result === undefined ? said : { error: undefined, ...said }),
    tool_removed: ({ id }) => {
      const gone = (call: ToolCall): boolean => call.id !== id;
      this.calls.delete(id);
      const status = this.execution.status;
      status.tool_calls = status.tool_calls?.filter(gone);
      const holder = this.holders.get(id);
      if (holder?.tool_calls) holder.tool_calls = holder.tool_calls.filter(gone);
      this.touch(holder);
    },
    sub_agent: ({ id, name, status }, at) => {
      const all = (this.execution.status.sub_agent_executions ??= []);
      const known = all.find((sub) => sub.id === id);
      if (known) Object.assign(known, { name: name ?? known.name, status });
      else all.push({ id, name, status, started_at: at });
    },
    todos: ({ todos }) => (this.execution.status.todos = Object.fromEntries(todos.map((todo: Payload, n: number) => [n + 1, todo]))),
    incomplete: (said) => (this.execution.incomplete = said),
    custom: (said) => (this.progress = [...this.progress.slice(-19), said]),
  };

  private keep(call: ToolCall, holder?: Message): void {
    this.calls.set(call.id, [...(this.calls.get(call.id) ?? []), call]);
    if (holder) this.holders.set(call.id, holder);
  }

  private message(said: Payload, at: string): void {
    const metadata = { ...said.metadata, ...(said.scope ? { scope: said.scope } : {}) };
    const message: Message = { type: said.type || "MESSAGE_AI", content: said.content || "", timestamp: at, metadata };
    const before = said.before ? this.known(said.before) : undefined;
    if (before) this.messages.splice(this.messages.indexOf(before), 0, message);
    else this.messages.push(message);
    if (said.id === "user") return;
    message.metadata = { ...metadata, message_id: said.id };
    this.byId.set(said.id, message);
  }

  private toolCall(said: Payload, at: string): void {
    const known = this.calls.get(said.id);
    if (known) {
      this.editCalls(said.id, { args: said.args ?? known[0]?.args, status: said.status });
      return;
    }
    const { id, name, args, status, component } = said;
    const call: ToolCall = { id, name, args, status, started_at: at, component_metadata: component };
    this.execution.status.tool_calls?.push(call);
    const holder = this.byId.get(said.message);
    if (holder) (holder.tool_calls ??= []).push(call);
    this.keep(call, holder);
    this.touch(holder);
  }

  private editCalls(id: string, change: Partial<ToolCall>): void {
    for (const call of this.calls.get(id) ?? []) Object.assign(call, change);
    this.touch(this.holders.get(id));
  }

  private edit(id: string, change: (message: Message) => void): void {
    const message = this.known(id);
    if (!message) return;
    change(message);
    this.touch(message);
  }

  private known(id: string): Message | undefined {
    if (id !== "user") return this.byId.get(id);
    return this.messages.find((message) => message.type === "MESSAGE_HUMAN" && !message.metadata?.message_id);
  }

  private remove(message: Message): void {
    const at = this.messages.indexOf(message);
    if (at >= 0) this.messages.splice(at, 1);
  }

  private touch(message: Message | undefined): void {
    if (message) this.changes.set(message, (this.changes.get(message) ?? 0) + 1);
  }
}
