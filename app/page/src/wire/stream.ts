// Server-sent events over fetch, which can send the key and Last-Event-ID where a browser's EventSource cannot.

import { call } from "./api";

export interface ServerEvent {
  id?: string;
  name: string;
  // Each name has a form of its own.
  data: any;
}

/** The events of one answer, in the pieces in which they came, until its end. */
export async function* eventsOf(path: string, options: RequestInit): AsyncGenerator<ServerEvent[]> {
  const answer = await call(path, options);
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      const events = blocks.map(parsed).filter((event) => event !== null);
      if (events.length) yield events;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Null for a comment: the pings are comments. */
function parsed(block: string): ServerEvent | null {
  const event: ServerEvent = { name: "message", data: undefined };
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    const name = line.slice(0, at);
    const value = line.slice(at + 1).trimStart();
    if (name === "id") event.id = value;
    if (name === "event") event.name = value;
    if (name === "data") event.data = JSON.parse(value);
  }
  return event.data === undefined ? null : event;
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
