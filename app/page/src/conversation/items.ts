// A conversation as one flat list: messages, and below the call that began it each sub-agent with what it said.

import type { Message, SubAgent, ToolCall } from "../wire/types";
import type { Fold } from "../execution/fold";

export type Item =
  | { kind: "message"; key: string; message: Message; depth: number; who: string }
  | { kind: "sub"; key: string; call: ToolCall; sub: SubAgent | undefined; depth: number; said: number; open: boolean }
  | { kind: "scope"; key: string; name: string; depth: number; said: number; open: boolean };

/** What a sub-agent of more messages said is folded away until somebody asks for it. */
const FEW = 25;

export const isSubAgent = (call: ToolCall): boolean =>
  call.component_metadata?.component_type === "subagent" || (call.name === "task" && typeof call.args?.["subagent_type"] === "string");

const keys = new WeakMap<Message, string>();
let number = 0;
/** Of the object, for its life: two messages may have one id, and some have none. */
function keyOf(message: Message): string {
  let key = keys.get(message);
  if (!key) keys.set(message, (key = `m${++number}`));
  return key;
}

export function itemsOf(fold: Fold, toggled: ReadonlyMap<string, boolean>): Item[] {
  const subs = new Map((fold.execution.status.sub_agent_executions ?? []).map((sub) => [sub.id, sub]));
  const scoped = new Map<string, Message[]>();
  const calls = new Set<string>();
  for (const message of fold.messages) {
    const scope = message.metadata?.scope;
    if (scope) {
      const known = scoped.get(scope);
      if (known) known.push(message);
      else scoped.set(scope, [message]);
    }
    for (const call of message.tool_calls ?? []) calls.add(call.id);
  }
  const items: Item[] = [];
  const walked = new Set<string>();
  const inside = (scope: string, depth: number, who: string, open: boolean): void => {
    if (!open || walked.has(scope)) return;
    walked.add(scope);
    for (const message of scoped.get(scope) ?? []) add(message, depth, who);
  };
  const add = (message: Message, depth: number, who: string): void => {
    items.push({ kind: "message", key: keyOf(message), message, depth, who });
    for (const call of message.tool_calls ?? []) {
      const said = scoped.get(call.id)?.length ?? 0;
      if (!said && !isSubAgent(call)) continue;
      const sub = subs.get(call.id);
      const open = toggled.get(call.id) ?? said <= FEW;
      items.push({ kind: "sub", key: `s${call.id}`, call, sub, depth: depth + 1, said, open });
      inside(call.id, depth + 1, sub?.name ?? String(call.args?.["subagent_type"] ?? call.name), open);
    }
  };
  for (const message of fold.messages) {
    const scope = message.metadata?.scope;
    if (!scope) add(message, 0, "");
    else if (!calls.has(scope) && !walked.has(scope) && !items.some((item) => item.key === `g${scope}`)) {
      const said = scoped.get(scope)?.length ?? 0;
      const open = toggled.get(scope) ?? said <= FEW;
      items.push({ kind: "scope", key: `g${scope}`, name: scope, depth: 1, said, open });
      inside(scope, 1, scope, open);
    }
  }
  return items;
}
