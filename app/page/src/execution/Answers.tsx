// The open questions of an execution that waits, each with a way to answer it: all, or only some of them.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { executionAddress, go } from "../address";
import { send } from "../wire/api";
import type { Execution, Json, Question } from "../wire/types";

const HINTS: Record<string, string> = { decisions: "approve all, reject all: REASON, or JSON", go_on: "anything" };

interface Given {
  text: string;
  /** As it is to be taken: an option is exactly what it is, what was written may be JSON. */
  exact?: Json;
}

export function Answers({ execution }: { execution: Execution }): JSX.Element {
  const questions = execution.questions ?? [];
  const [given, set] = useState<Record<string, Given>>({});
  const [problem, tell] = useState("");
  const goesOn = questions[0]?.expects?.kind === "go_on";
  const answer = async (event: Event): Promise<void> => {
    event.preventDefault();
    const filled = Object.entries(given).filter(([, one]) => one.text);
    const session_id = execution.spec.session_id;
    if (!filled.length && !goesOn) return tell("Answer at least one question.");
    const answers = Object.fromEntries(filled.map(([id, one]) => [id, one.exact !== undefined ? one.exact : textOrJson(one.text)]));
    const body = goesOn ? { session_id, message: filled[0]?.[1].text || "go on" } : { session_id, answers };
    try {
      const made = await send<Execution>("/v1/executions", body);
      go(executionAddress(made.metadata.id));
    } catch (error) {
      tell((error as Error).message);
    }
  };
  return (
    <form class="answers" aria-label="Questions" onSubmit={answer}>
      <p class="dim">{execution.next_step || "It waits for an answer."}</p>
      {questions.map((question) => (
        <Asked key={question.id} question={question} given={given[question.id]} set={(one) => set({ ...given, [question.id]: one })} />
      ))}
      <button class="main">Answer</button>
      {problem && (
        <p class="note bad" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}

function Asked({ question, given, set }: { question: Question; given: Given | undefined; set: (given: Given) => void }): JSX.Element {
  const { expects = {} } = question;
  const words = (option: Json): string => (typeof option === "string" ? option : JSON.stringify(option));
  return (
    <label>
      <span class="lines">{question.text || question.id}</span>
      <span class="dim">{[question.node, question.scope].filter(Boolean).join(" · ")}</span>
      <input
        name={question.id}
        value={given?.text ?? ""}
        placeholder={HINTS[expects.kind ?? ""] ?? "text or JSON"}
        autocomplete="off"
        onInput={(event) => set({ text: event.currentTarget.value })}
      />
      {expects.options && (
        <span class="options">
          {expects.options.map((option) => (
            <button key={words(option)} type="button" onClick={() => set({ text: words(option), exact: option })}>
              {words(option)}
            </button>
          ))}
        </span>
      )}
    </label>
  );
}

/** JSON objects and lists as such; everything else is what was written. */
function textOrJson(text: string): Json {
  if (!/^\s*[{[]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
