// What the server answers, as far as the page reads it. Times are RFC 3339 texts, durations seconds.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface ToolCall {
  id: string;
  name: string;
  args?: { [name: string]: Json };
  status?: string;
  result?: string;
  error?: string;
  started_at?: string;
  completed_at?: string;
  component_metadata?: { component_type?: string; metadata?: { display_name?: string; scope?: string } };
}

export interface Attachment {
  id: string;
  name?: string;
  type?: string;
  mime_type?: string;
  size?: number;
  sha256?: string;
  url?: string;
}

/** Where the operator named a price. */
export interface Cost {
  amount: number;
  currency: string;
}

export interface MessageMetadata {
  message_id?: string;
  scope?: string;
  model?: string;
  usage?: { input_tokens?: number; output_tokens?: number };
  cost?: Cost;
  attachments?: Attachment[];
  error_code?: string;
  category?: string;
  next_step?: string;
  error_node?: string;
  error_at?: string;
  error_class?: string;
  traceback?: string;
  attempt?: number;
  worker?: string;
  last_heartbeat?: string;
  original_error?: string;
}

export interface Message {
  type: string;
  content?: string;
  timestamp?: string;
  tool_calls?: ToolCall[];
  metadata?: MessageMetadata;
}

export interface Todo {
  id?: string;
  content: string;
  status: string;
}

export interface SubAgent {
  id: string;
  name?: string;
  status?: string;
  started_at?: string;
  completed_at?: string;
}

export interface Question {
  id: string;
  text?: string;
  node?: string;
  scope?: string;
  value?: Json;
  expects?: { kind?: string; options?: Json[]; allowed?: string[] };
}

export interface Status {
  phase: string;
  error?: string;
  messages?: Message[];
  tool_calls?: ToolCall[];
  sub_agent_executions?: SubAgent[];
  todos?: { [number: string]: Todo };
  started_at?: string;
  completed_at?: string;
  audit?: { spec_audit?: { created_at?: string; created_by?: { id?: string } } };
}

export interface Execution {
  metadata: { id: string; org?: string; labels?: { [name: string]: string }; annotations?: { [name: string]: string } };
  spec: {
    session_id?: string;
    agent_id?: string;
    message?: string;
    execution_config?: { model_name?: string };
  };
  status: Status;
  output?: Json;
  incomplete?: { text?: string; reason?: string };
  waiting_for_input?: boolean;
  questions?: Question[];
  next_step?: string;
  sandbox?: string;
  redriven_from?: string;
}

/** One line of the list. */
export interface Row {
  id: string;
  phase: string;
  code?: string;
  message?: string;
  agent?: string;
  graph?: string;
  sessionId?: string;
  createdAt?: string;
  startedAt?: string;
  endedAt?: string;
  waitSeconds?: number;
  tokens?: { input?: number; output?: number };
  cost?: Cost;
  worker?: string;
  attempt?: number;
  labels?: { [name: string]: string };
  waitingForInput?: boolean;
}

export interface LogRow {
  seq: number;
  at: string;
  kind: string;
  payload: { [name: string]: Json };
  phase?: string;
}

export interface Worker {
  id: string;
  queue: string;
  pool?: string;
  slots: number;
  busy: number;
  online: boolean;
  lastSeen?: string;
  lastFailedStart?: { at?: string; text: string };
  note?: string;
}

export interface Overview {
  workers: Worker[];
  queues: { name: string; waiting: number; oldestWaitingSeconds?: number }[];
  lastHour?: {
    bucketSeconds: number;
    started: number[];
    ended: { [phase: string]: number[] };
    waitP50Seconds?: (number | null)[];
    waitP95Seconds?: (number | null)[];
    runP50Seconds?: (number | null)[];
  };
}
