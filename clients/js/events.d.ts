// Made by `make docs` from the schemas that /openapi.json has: the events of Agent Runner's streams.

/** What the stream of an execution tells. */
export type ExecutionEvent =
  | { name: "snapshot"; id: string; data: SnapshotEvent }
  | { name: "update"; id: string; data: UpdateEvent }
  | { name: "end"; id: string; data: EndEvent }
  | { name: "error"; id?: undefined; data: Problem };

/** What the stream of a list's changes tells. */
export type ChangeEvent =
  | { name: "rows"; id?: undefined; data: RowsEvent }
  | { name: "counts"; id?: undefined; data: CountsEvent };

/** The execution as it is after row `seq`; updates follow it. */
export type SnapshotEvent = {
  /** the number in the log, without gaps */
  seq: number;
  execution: AgentExecution;
};

/** One row of the log. There may be more kinds in later versions: leave out what you do not know. */
export type UpdateEvent =
  | PhaseRow
  | MessageRow
  | TextRow
  | MessageEndRow
  | ToolCallRow
  | ToolEndRow
  | SubAgentRow
  | MessageEditRow
  | MessageRemovedRow
  | MessageScopeRow
  | MessageMovedRow
  | ToolEditRow
  | ToolRemovedRow
  | TodosRow
  | OutputRow
  | HistoryRow
  | QuestionRow
  | IncompleteRow
  | AttemptRow
  | MergeRow
  | CustomRow
  | StreamRow
  | StreamEndRow
  | NoteRow;

/** The last event. The stream closes. */
export type EndEvent = {
  /** the number in the log, without gaps */
  seq: number;
  phase: "EXECUTION_COMPLETED" | "EXECUTION_FAILED" | "EXECUTION_CANCELLED";
  error_code: "" | "E101" | "E102" | "E103" | "E104" | "E105" | "E106" | "E107" | "E201" | "E202" | "E301" | "E302" | "E303" | "E304" | "E305" | "E306" | "E307" | "E308" | "E401" | "E501";
};

/** Every answer that is not what was asked for. */
export type Problem = {
  type: string;
  title: string;
  status: number;
  /** what is wrong */
  detail: string;
  /** the failure's where it has one (E501), else the gRPC code's name */
  code: string;
  /** what to do about it */
  next_step: string;
  /** field by field */
  violations?: ({
    field: string;
    text: string;
  })[];
};

/** Executions that are new or changed. One is told whole, and may be told again. */
export type RowsEvent = {
  executions: ExecutionRow[];
};

/** How many are in each phase. */
export type CountsEvent = {
  phases: { [name: string]: number };
  /** there are more than were counted */
  more: boolean;
};

export type AgentExecution = {
  api_version: "agentic.stigmer.ai/v1";
  kind: "AgentExecution";
  metadata: {
    name: string;
    slug: string;
    id: string;
    org?: string;
    owner_scope?: "api_resource_owner_scope_unspecified" | "platform" | "organization" | "identity_account";
    labels?: { [name: string]: string };
    annotations?: { [name: string]: string };
    tags?: string[];
    version?: ApiResourceMetadataVersion;
  };
  spec: AgentExecutionSpec;
  status: AgentExecutionStatus;
  /** the final state of a graph without messages */
  output?: unknown;
  /** it ended with questions that nobody has answered yet */
  waiting_for_input?: boolean;
  /** what it asked when it ended */
  questions?: ({
    /** what `answers` name it by */
    id: string;
    /** what the graph asked with, whole */
    value?: unknown;
    /** the same in words */
    text?: string;
    /** the node that asks */
    node?: string;
    /** the sub-agent or sub-graph that asks */
    scope?: string;
    /** what kind of answer: `kind`, and what belongs to it */
    expects?: { [name: string]: unknown };
  })[];
  /** what to do about an execution that waits */
  next_step?: string;
  /** why the last answer of a COMPLETED execution is no whole one */
  incomplete?: {
    /** the provider's word, `cut_off` or `empty` */
    reason?: string;
    /** the same in words */
    text?: string;
  };
  /** what its commands ran in: isolated; a user of its own, not isolated, and why; none */
  sandbox?: string;
  /** the id of the execution that this one repeats */
  redriven_from?: string;
  /** of an execution that may have more than one; lists leave `failed` and `next_at` out */
  attempts?: {
    /** 0 before the first one */
    current: number;
    maximum: number;
    /** when the next one may begin */
    next_at?: string;
    /** the attempts that were followed by another one */
    failed?: ({
      attempt: number;
      error_code: string;
      error: string;
      worker?: string;
      ended_at: string;
      /** the tool calls that were open: the next attempt may have made them again */
      possibly_repeated?: ({
        id?: string;
        name?: string;
      })[];
    })[];
  };
  /** while it waits for its org's turn: `org`, `priority` and `waiting_since` */
  turn?: { [name: string]: unknown };
};

/** The execution is in another phase. The last row of a log is the one with a terminal phase. */
export type PhaseRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "phase";
  payload: {
    phase: "EXECUTION_PENDING" | "EXECUTION_IN_PROGRESS" | "EXECUTION_COMPLETED" | "EXECUTION_FAILED" | "EXECUTION_CANCELLED";
    attempt?: number;
    /** what the commands run in */
    sandbox?: string;
    /** of a failure, for people; ends with the code */
    error?: string;
    error_code?: "" | "E101" | "E102" | "E103" | "E104" | "E105" | "E106" | "E107" | "E201" | "E202" | "E301" | "E302" | "E303" | "E304" | "E305" | "E306" | "E307" | "E308" | "E401" | "E501";
  };
  /** begins with this row */
  phase?: "EXECUTION_PENDING" | "EXECUTION_IN_PROGRESS" | "EXECUTION_COMPLETED" | "EXECUTION_FAILED" | "EXECUTION_CANCELLED";
};

/** A message begins, or is told whole. A known id: it replaces the message. */
export type MessageRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message";
  payload: {
    /** the id of the message */
    id: string;
    /** missing: MESSAGE_AI */
    type?: "MESSAGE_HUMAN" | "MESSAGE_AI" | "MESSAGE_TOOL" | "MESSAGE_SYSTEM";
    content?: string;
    /** is added to the metadata that the message has */
    metadata?: { [name: string]: unknown };
    /** the call of the sub-agent that it belongs to; missing: the main agent */
    scope?: string;
    /** the message that it stands before; missing: at the end */
    before?: string;
    /** how much of the user's input is text that a person said */
    spoken?: unknown;
    /** the order of text and attachments in the user's message */
    layout?: unknown[];
    /** what a run of the Agent Server API asked for */
    asked?: { [name: string]: unknown };
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** A message grows. */
export type TextRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "text";
  payload: {
    /** the id of the message */
    id: string;
    text: string;
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** A message has ended, or was broken off (`metadata.incomplete`). */
export type MessageEndRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message_end";
  payload: {
    /** the id of the message */
    id: string;
    /** the whole text, where it differs from what was streamed */
    content?: string;
    /** usage, model, finish_reason, reasoning, incomplete, refusal; `forgotten`: the user sent it, and the graph removed it together with all others */
    metadata?: { [name: string]: unknown };
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** A tool is asked for, or begins to run, or waits for an answer. Later rows of a call have only what changed. */
export type ToolCallRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "tool_call";
  payload: {
    /** the id of the tool call */
    id: string;
    /** the message that asked for it; empty if none did */
    message?: string;
    name?: string;
    /** the arguments, cut if they are large */
    args?: { [name: string]: unknown };
    status?: "TOOL_CALL_PENDING" | "TOOL_CALL_RUNNING" | "TOOL_CALL_COMPLETED" | "TOOL_CALL_FAILED";
    /** how a page may show it */
    component?: {
      component_type?: string;
      component_group?: string;
      layout_hint?: string;
      metadata?: {
        display_name?: string;
      };
    };
    /** the call of the sub-agent that it belongs to; missing: the main agent */
    scope?: string;
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** A tool call is over. */
export type ToolEndRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "tool_end";
  payload: {
    /** the id of the tool call */
    id: string;
    status: "TOOL_CALL_COMPLETED" | "TOOL_CALL_FAILED";
    /** cut if it is large */
    result?: string;
    error?: string;
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** A sub-agent begins. It ends with the `tool_end` of the same id. */
export type SubAgentRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "sub_agent";
  payload: {
    /** the id of the call that started it, and the scope of what it does */
    id: string;
    name?: string;
    input?: string;
    status?: "SUB_AGENT_PENDING" | "SUB_AGENT_IN_PROGRESS" | "SUB_AGENT_COMPLETED" | "SUB_AGENT_FAILED";
    /** the call of the sub-agent that it belongs to; missing: the main agent */
    scope?: string;
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** The graph rewrote a message: this replaces its text. */
export type MessageEditRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message_edit";
  payload: {
    /** the id of the message */
    id: string;
    content: string;
    /** is added to the metadata that the message has */
    metadata?: { [name: string]: unknown };
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** The graph removed a message. */
export type MessageRemovedRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message_removed";
  payload: {
    /** the id of the message */
    id: string;
  };
};

/** A message belongs to another agent than was told. */
export type MessageScopeRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message_scope";
  payload: {
    /** the id of the message */
    id: string;
    /** empty: the main agent */
    scope: string;
  };
};

/** A message has another place. */
export type MessageMovedRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "message_moved";
  payload: {
    /** the id of the message */
    id: string;
    /** the message that it follows; missing: the user's */
    after?: string;
  };
};

/** The graph rewrote a tool call or its result. */
export type ToolEditRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "tool_edit";
  payload: {
    /** the id of the tool call */
    id: string;
    name?: string;
    /** the arguments, cut if they are large */
    args?: { [name: string]: unknown };
    status?: "TOOL_CALL_COMPLETED" | "TOOL_CALL_FAILED";
    result?: string;
    error?: string;
    /** how a page may show it */
    component?: {
      component_type?: string;
      component_group?: string;
      layout_hint?: string;
      metadata?: {
        display_name?: string;
      };
    };
    /** its text was taken away, because a later row rewrote or removed it */
    purged?: true;
  };
};

/** The graph removed a tool call. */
export type ToolRemovedRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "tool_removed";
  payload: {
    /** the id of the tool call */
    id: string;
  };
};

/** The whole list of the main agent. */
export type TodosRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "todos";
  payload: {
    todos: ({
      content: string;
      status: "TODO_PENDING" | "TODO_IN_PROGRESS" | "TODO_COMPLETED" | "TODO_CANCELLED";
    })[];
  };
};

/** The final state of a graph without messages. */
export type OutputRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "output";
  payload: {
    output?: unknown;
    /** the state as the graph keeps it, where `output` has another form */
    fields?: { [name: string]: unknown };
  };
};

/** The graph removed messages of earlier turns. */
export type HistoryRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "history";
  payload: {
    /** how many of them it still has */
    kept: number;
  };
};

/** The graph asks a person. The execution ends, and an answer goes on in its session. */
export type QuestionRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "question";
  payload: {
    /** what `answers` name it by */
    id: string;
    /** what the graph asked with, whole */
    value?: unknown;
    /** the same in words */
    text?: string;
    node?: string;
    /** the call of the sub-agent that it belongs to; missing: the main agent */
    scope?: string;
    /** what kind of answer: `kind`, and what belongs to it */
    expects?: { [name: string]: unknown };
  };
};

/** The last answer is no whole one. */
export type IncompleteRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "incomplete";
  payload: {
    /** the provider's word, `cut_off` or `empty` */
    reason: string;
    text?: string;
  };
};

/** An attempt failed and another one follows. */
export type AttemptRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "attempt";
  payload: {
    attempt: number;
    maximum_attempts: number;
    error_code: "" | "E101" | "E102" | "E103" | "E104" | "E105" | "E106" | "E107" | "E201" | "E202" | "E301" | "E302" | "E303" | "E304" | "E305" | "E306" | "E307" | "E308" | "E401" | "E501";
    error: string;
    worker?: string;
    /** seconds until the next one may begin */
    pause_s: number;
  };
};

/** A status of the contract's `updateStatus`: what is set in it replaces what was. */
export type MergeRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "merge";
  payload: {
    status: { [name: string]: unknown };
  };
  /** begins with this row */
  phase?: "EXECUTION_PENDING" | "EXECUTION_IN_PROGRESS" | "EXECUTION_COMPLETED" | "EXECUTION_FAILED" | "EXECUTION_CANCELLED";
};

/** An event of the graph's own. No part of the status. */
export type CustomRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "custom";
  payload: {
    data: unknown;
    name?: string;
    node?: string;
    /** the call of the sub-agent that it belongs to; missing: the main agent */
    scope?: string;
    /** why nothing more is kept */
    note?: string;
  };
};

/** Parts of LangGraph's own stream, for runs of the Agent Server API. No part of the status. */
export type StreamRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "stream";
  payload: {
    /** each is [part, namespace, data]; a `messages` part without metadata has that of the one before it, and one of a number and a text is that part of the row with this text as its content */
    parts: (unknown[])[];
  };
};

/** The state in which the graph stopped, for runs of the Agent Server API. No part of the status. */
export type StreamEndRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "stream_end";
  payload: {
    values: unknown;
    interrupts?: unknown[];
    error?: { [name: string]: string };
  };
};

/** A remark about the run: it was handed back, and why. No part of the status. */
export type NoteRow = {
  /** the number in the log, without gaps */
  seq: number;
  at: string;
  /** rises when the run has another owner */
  fence: number;
  kind: "note";
  payload: {
    text: string;
  };
};

/** One execution of a list. */
export type ExecutionRow = {
  id: string;
  phase: string;
  createdAt: string;
  attempt: number;
  /** of a failure */
  code?: string;
  /** its beginning */
  message?: string;
  /** slug; the id of an agent that is gone */
  agent?: string;
  graph?: string;
  sessionId?: string;
  /** of the last attempt */
  startedAt?: string;
  endedAt?: string;
  /** until a worker took it */
  waitSeconds?: number;
  tokens?: {
    input: number;
    output: number;
  };
  /** of the last attempt's model calls; missing where a price is not known */
  cost?: {
    amount: number;
    currency: string;
  };
  worker?: string;
  labels?: { [name: string]: string };
  waitingForInput?: true;
};

export type ApiResourceMetadataVersion = {
  id?: string;
  message?: string;
  previous_version_id?: string;
};

export type AgentExecutionSpec = {
  session_id?: string;
  agent_id?: string;
  message?: string;
  execution_config?: ExecutionConfig;
  runtime_env?: { [name: string]: ExecutionValue };
  callback_token?: string;
};

export type AgentExecutionStatus = {
  audit?: ApiResourceAudit;
  messages?: AgentMessage[];
  phase?: "EXECUTION_PHASE_UNSPECIFIED" | "EXECUTION_PENDING" | "EXECUTION_IN_PROGRESS" | "EXECUTION_COMPLETED" | "EXECUTION_FAILED" | "EXECUTION_CANCELLED";
  tool_calls?: ToolCall[];
  sub_agent_executions?: SubAgentExecution[];
  error?: string;
  started_at?: string;
  completed_at?: string;
  todos?: { [name: string]: TodoItem };
  callback_token?: string;
};

export type ExecutionConfig = {
  model_name?: string;
};

export type ExecutionValue = {
  value?: string;
  is_secret?: boolean;
};

export type ApiResourceAudit = {
  spec_audit?: ApiResourceAuditInfo;
  status_audit?: ApiResourceAuditInfo;
};

export type AgentMessage = {
  type?: "MESSAGE_TYPE_UNSPECIFIED" | "MESSAGE_HUMAN" | "MESSAGE_AI" | "MESSAGE_TOOL" | "MESSAGE_SYSTEM";
  content?: string;
  timestamp?: string;
  tool_calls?: ToolCall[];
  metadata?: { [name: string]: unknown };
};

export type ToolCall = {
  id?: string;
  name?: string;
  args?: { [name: string]: unknown };
  result?: string;
  status?: "TOOL_CALL_STATUS_UNSPECIFIED" | "TOOL_CALL_PENDING" | "TOOL_CALL_RUNNING" | "TOOL_CALL_COMPLETED" | "TOOL_CALL_FAILED";
  component_metadata?: ComponentMetadata;
  started_at?: string;
  completed_at?: string;
  error?: string;
};

export type SubAgentExecution = {
  id?: string;
  name?: string;
  input?: string;
  output?: string;
  status?: "SUB_AGENT_STATUS_UNSPECIFIED" | "SUB_AGENT_PENDING" | "SUB_AGENT_IN_PROGRESS" | "SUB_AGENT_COMPLETED" | "SUB_AGENT_FAILED";
  started_at?: string;
  completed_at?: string;
  error?: string;
  metadata?: { [name: string]: unknown };
};

export type TodoItem = {
  id?: string;
  content?: string;
  status?: "TODO_STATUS_UNSPECIFIED" | "TODO_PENDING" | "TODO_IN_PROGRESS" | "TODO_COMPLETED" | "TODO_CANCELLED";
  created_at?: string;
  updated_at?: string;
};

export type ApiResourceAuditInfo = {
  created_by?: ApiResourceAuditActor;
  created_at?: string;
  updated_by?: ApiResourceAuditActor;
  updated_at?: string;
  event?: string;
};

export type ComponentMetadata = {
  component_type?: string;
  component_group?: string;
  layout_hint?: string;
  metadata?: { [name: string]: unknown };
};

export type ApiResourceAuditActor = {
  id?: string;
  avatar?: string;
};
