// What was said, called and answered.

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import type { Fold } from "../execution/fold";
import { SubAgentHead } from "./Calls";
import { MessageView } from "./MessageView";
import { Virtual } from "./Virtual";
import { itemsOf } from "./items";

export function Conversation({ fold, version, live }: { fold: Fold; version: number; live: boolean }): JSX.Element {
  const [toggled, set] = useState<ReadonlyMap<string, boolean>>(new Map());
  const items = useMemo(() => itemsOf(fold, toggled), [fold, version, toggled]);
  const toggle = (id: string, open: boolean): void => set(new Map(toggled).set(id, open));
  const id = fold.execution.metadata.id;
  return (
    <section class="conversation" aria-label="Conversation">
      <Virtual
        label="Messages"
        length={items.length}
        keyOf={(n) => items[n]?.key ?? String(n)}
        guess={96}
        follow={live}
        version={version * 1000 + toggled.size}
        draw={(n) => {
          const item = items[n];
          if (!item) return null;
          if (item.kind === "message")
            return (
              <MessageView
                message={item.message}
                change={fold.changes.get(item.message) ?? 0}
                depth={item.depth}
                who={item.who}
                execution={id}
              />
            );
          if (item.kind === "sub")
            return (
              <SubAgentHead call={item.call} sub={item.sub} said={item.said} depth={item.depth} open={item.open} toggle={(open) => toggle(item.call.id, open)} />
            );
          return (
            <div class={`sub-agent depth-${item.depth}`}>
              <button type="button" class="quiet" aria-expanded={item.open} onClick={() => toggle(item.name, !item.open)}>
                {item.open ? "▾" : "▸"} {item.name} <span class="dim">{item.said} messages</span>
              </button>
            </div>
          );
        }}
      />
      {items.length > 30 && (
        <p class="ends">
          <button type="button" class="quiet" onClick={() => scrollTo({ top: 0 })}>
            ↑ top
          </button>
          <button type="button" class="quiet" onClick={() => scrollTo({ top: document.documentElement.scrollHeight })}>
            ↓ end
          </button>
        </p>
      )}
    </section>
  );
}
