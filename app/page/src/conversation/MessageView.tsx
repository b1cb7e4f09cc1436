// One message: who, when, what, and the tools that it calls.

import { Component, type JSX } from "preact";
import { useState } from "preact/hooks";
import { call, pathOf } from "../wire/api";
import type { Attachment, Message } from "../wire/types";
import { compact, count, plain, whole } from "../words";
import { CallCard } from "./Calls";
import { Long } from "./Long";
import { isSubAgent } from "./items";
import { html } from "./markdown";

interface Given {
  message: Message;
  /** Changes of the message so far: it is changed in its place. */
  change: number;
  depth: number;
  who: string;
  execution: string;
}

const WHO: Record<string, string> = { MESSAGE_HUMAN: "user", MESSAGE_AI: "agent", MESSAGE_SYSTEM: "system", MESSAGE_TOOL: "tool" };

export class MessageView extends Component<Given> {
  override shouldComponentUpdate(next: Given): boolean {
    const { message, change, depth, who } = this.props;
    return next.message !== message || next.change !== change || next.depth !== depth || next.who !== who;
  }

  override render({ message, depth, who, execution }: Given): JSX.Element {
    const { metadata = {}, tool_calls = [], content = "" } = message;
    const tokens = metadata.usage;
    return (
      <div class={`message ${message.type} depth-${Math.min(depth, 3)}`}>
        <div class="by">
          <b>{who || WHO[message.type] || message.type.replace("MESSAGE_", "").toLowerCase()}</b>
          {who && <span class="dim">sub-agent</span>}
          <span class="dim" title={whole(message.timestamp)}>
            {message.timestamp && new Date(message.timestamp).toLocaleTimeString([], { hour12: false })}
          </span>
          {metadata.model && <span class="dim">{metadata.model}</span>}
          {tokens && (
            <span class="dim" title="tokens in / out">
              {compact(tokens.input_tokens ?? 0)} / {compact(tokens.output_tokens ?? 0)}
            </span>
          )}
        </div>
        {content && <Content type={message.type} text={content} />}
        {metadata.attachments?.map((one) => <AttachmentButton key={one.id} one={one} execution={execution} />)}
        {tool_calls
          .filter((one) => !isSubAgent(one))
          .map((one) => (
            <CallCard key={one.id} call={one} />
          ))}
      </div>
    );
  }
}

function Content({ type, text }: { type: string; text: string }): JSX.Element {
  const made = type === "MESSAGE_AI" ? html(text) : null;
  if (made !== null) return <div class="markdown" dangerouslySetInnerHTML={{ __html: made }} />;
  return <Long class="words" text={type === "MESSAGE_SYSTEM" ? plain(text) : text} />;
}

/** By reference: the bytes come only when somebody asks for them, with the key, as a file to keep. */
function AttachmentButton({ one, execution }: { one: Attachment; execution: string }): JSX.Element {
  const [problem, tell] = useState("");
  const told = [one.name || one.id, one.mime_type || one.type, one.size ? `${count(one.size)} bytes` : "", one.url].filter(Boolean).join(" · ");
  if (!one.sha256) return <p class="dim">{told}</p>;
  const save = async (): Promise<void> => {
    try {
      const answer = await call(pathOf(execution, `/attachments/${encodeURIComponent(one.id)}`));
      const url = URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: "application/octet-stream" }));
      Object.assign(document.createElement("a"), { href: url, download: one.name || one.id }).click();
      URL.revokeObjectURL(url);
      tell("");
    } catch (error) {
      tell((error as Error).message);
    }
  };
  return (
    <p>
      <button type="button" onClick={save}>
        ↓ {told}
      </button>
      {problem && <span class="bad-text"> {problem}</span>}
    </p>
  );
}
