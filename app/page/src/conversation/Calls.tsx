// Calls of tools as cards: a terminal, an editor, a search, anything else as its arguments and its result.

import type { JSX } from "preact";
import type { Json, SubAgent, ToolCall } from "../wire/types";
import { useNow } from "../parts/parts";
import { between, cut, duration } from "../words";
import { Long } from "./Long";

const SIGNS: Record<string, string> = { terminal: "$", editor: "✎", search: "⌕", subagent: "↳" };
const text = (value: Json | undefined): string =>
  value === undefined || value === null ? "" : typeof value === "string" ? value : JSON.stringify(value, null, 2);
const stateOf = (status: string | undefined): string => (status ?? "").replace(/^(TOOL_CALL|SUB_AGENT)_/, "").toLowerCase();
const first = (call: ToolCall, ...names: string[]): string => names.map((name) => text(call.args?.[name])).find(Boolean) ?? "";

function State({ call }: { call: ToolCall }): JSX.Element {
  const runs = !call.completed_at && ["running", "pending"].includes(stateOf(call.status));
  const now = useNow(runs);
  return (
    <>
      <span class={`state ${stateOf(call.status)}`}>{stateOf(call.status)}</span>
      <span class="dim">{duration(between(call.started_at, call.completed_at ?? (runs ? now : undefined)))}</span>
    </>
  );
}

export function CallCard({ call }: { call: ToolCall }): JSX.Element {
  const type = call.component_metadata?.component_type ?? "";
  const known = { terminal: Terminal, editor: Editor, search: Search }[type];
  const about = first(call, "command", "file_path", "path", "pattern", "query", "url") || Object.values(call.args ?? {}).map(text)[0] || "";
  return (
    <details class={`call ${type || "other"}`} open>
      <summary>
        <span class="sign" aria-hidden="true">
          {SIGNS[type] ?? "ƒ"}
        </span>
        <b>{call.name}</b>
        <code>{cut(about.split("\n")[0] ?? "", 100)}</code>
        <span class="grow" />
        <State call={call} />
      </summary>
      {known ? known({ call }) : <Other call={call} />}
      {call.error && <Long class="output bad-text" text={call.error} />}
    </details>
  );
}

const resultOf = (call: ToolCall): string => (call.result && call.result !== call.error ? call.result : "");

function Terminal({ call }: { call: ToolCall }): JSX.Element {
  const command = first(call, "command", "cmd", "code");
  return (
    <>
      {command.includes("\n") && <Long class="output command" text={command} />}
      {resultOf(call).trim() && <Long class="output" text={resultOf(call).replace(/^\n/, "")} />}
    </>
  );
}

function Editor({ call }: { call: ToolCall }): JSX.Element {
  const [was, is] = [first(call, "old_string", "old_str"), first(call, "new_string", "new_str")];
  const content = first(call, "content", "contents", "text", "file_text");
  return (
    <>
      {(was || is) && (
        <pre class="output diff" tabIndex={0}>
          {was && <del>{cut(was, 6000)}</del>}
          {is && <ins>{cut(is, 6000)}</ins>}
        </pre>
      )}
      {content && <Long class="output" text={content} />}
      {resultOf(call) && <Long class="output dim" text={resultOf(call)} />}
    </>
  );
}

function Search({ call }: { call: ToolCall }): JSX.Element {
  const where = first(call, "path", "glob", "include");
  return (
    <>
      {where && <p class="dim">in {where}</p>}
      {resultOf(call) && <Long class="output" text={resultOf(call)} />}
    </>
  );
}

function Other({ call }: { call: ToolCall }): JSX.Element {
  return (
    <>
      {Object.keys(call.args ?? {}).length > 0 && <Long class="output dim" text={JSON.stringify(call.args, null, 2)} />}
      {resultOf(call) && <Long class="output" text={resultOf(call)} />}
    </>
  );
}

interface HeadGiven {
  call: ToolCall;
  sub: SubAgent | undefined;
  said: number;
  depth: number;
  open: boolean;
  toggle: (open: boolean) => void;
}

/** A sub-agent by its name and what it was asked for; below it stands what it said. */
export function SubAgentHead({ call, sub, said, depth, open, toggle }: HeadGiven): JSX.Element {
  const name = sub?.name ?? (text(call.args?.["subagent_type"]) || call.name);
  const asked = first(call, "description", "prompt", "input");
  return (
    <div class={`sub-agent depth-${Math.min(depth, 3)}`}>
      <div class="line">
        <button type="button" class="quiet" aria-expanded={open} disabled={!said} onClick={() => toggle(!open)}>
          <span aria-hidden="true">{said ? (open ? "▾ " : "▸ ") : ""}</span>
          <b>{name}</b>
        </button>
        <span class="dim">
          sub-agent · {said} {said === 1 ? "message" : "messages"}
        </span>
        <span class="grow" />
        <State call={call} />
      </div>
      {asked && <p class="asked lines">{cut(asked, 600)}</p>}
      {!open && call.result && <Long class="output" text={call.result} />}
      {call.error && <Long class="output bad-text" text={call.error} />}
    </div>
  );
}
