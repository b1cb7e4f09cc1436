// A text of any length: its beginning, and the rest when somebody asks for it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { count } from "../words";

const FIRST = 12_000;

export function Long({ text, class: name = "" }: { text: string; class?: string }): JSX.Element {
  const [all, set] = useState(false);
  const cut = text.length > FIRST && !all;
  return (
    <>
      <pre class={name} tabIndex={name.includes("output") ? 0 : undefined}>
        {cut ? text.slice(0, FIRST) : text}
      </pre>
      {cut && (
        <button type="button" class="quiet" onClick={() => set(true)}>
          Show all {count(text.length)} characters
        </button>
      )}
    </>
  );
}
