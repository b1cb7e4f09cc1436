// One execution: what it is, why it ended, how its time went, what was said, and what can be done about it.

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { executionAddress, listAddress } from "../address";
import { Conversation } from "../conversation/Conversation";
import { AgentName } from "../parts/AgentName";
import { Copy, Fact, Note, Phase, useNow } from "../parts/parts";
import { useLinks } from "../wire/links";
import type { Execution as Shown } from "../wire/types";
import { between, codeIn, count, cut, duration, ended, moment, money, spoken, whole } from "../words";
import { Actions } from "./Actions";
import { Failure } from "./Failure";
import { Neighbours } from "./Neighbours";
import { Answers } from "./Answers";
import { LogView } from "./LogView";
import { TimeLine } from "./TimeLine";
import { useFollowed } from "./follow";
import { totals } from "./totals";

const TABS = [
  ["conversation", "Conversation"],
  ["log", "Log"],
  ["json", "JSON"],
] as const;

export function Execution({ id, tab }: { id: string; tab: string }): JSX.Element {
  const seen = useFollowed(id);
  const execution = seen.fold?.execution;
  const now = useNow(Boolean(execution && !ended(execution.status.phase)));
  const words = cut(execution?.spec.message?.trim().split("\n")[0] ?? "", 40);
  const state = execution?.waiting_for_input ? "needs an answer" : spoken(execution?.status.phase);
  useEffect(() => {
    if (state) document.title = [state, words || id, "Agent Runner"].join(" · ");
  }, [state, words, id]);
  if (seen.gone)
    return (
      <main id="view" class="execution">
        <Note>{seen.gone}</Note>
        <p>
          <a href="#">All executions</a>
        </p>
      </main>
    );
  if (!execution || !seen.fold)
    return (
      <main id="view" class="execution">
        {seen.problem ? <Note>{seen.problem}</Note> : <p class="empty">Reading {id} …</p>}
      </main>
    );
  const todos = Object.values(execution.status.todos ?? {});
  return (
    <main id="view" class="execution">
      <Head execution={execution} now={now} />
      {seen.problem && <Note kind="warn">{seen.problem}</Note>}
      <Failure execution={execution} />
      {/^(not isolated|a user of its own)/.test(execution.sandbox ?? "") && <Note kind="warn">Its commands are {execution.sandbox}.</Note>}
      {execution.incomplete && <Note kind="warn">Not a whole answer: {execution.incomplete.text || execution.incomplete.reason}</Note>}
      {execution.waiting_for_input && <Answers key={id} execution={execution} />}
      <TimeLine execution={execution} version={seen.version} now={now} />
      {todos.length > 0 && (
        <section class="todos" aria-label="Todos">
          <ul>
            {todos.map((todo) => (
              <li key={todo.content} class={todo.status}>
                <span aria-hidden="true">{{ TODO_COMPLETED: "✓", TODO_IN_PROGRESS: "▸", TODO_CANCELLED: "⊘" }[todo.status] ?? "◦"}</span>
                <span>
                  {todo.content}
                  <span class="unseen"> ({todo.status.replace("TODO_", "").replaceAll("_", " ").toLowerCase()})</span>
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
      <nav class="tabs" aria-label="Views of the execution">
        {TABS.map(([name, text]) => (
          <a key={name} href={executionAddress(id, name)} aria-current={tab === name ? "page" : undefined}>
            {text}
            {name === "conversation" && <span class="dim"> {count(seen.fold?.messages.length)}</span>}
          </a>
        ))}
      </nav>
      {tab === "log" && <LogView key={id} id={id} />}
      {tab === "json" && <Raw execution={execution} />}
      {tab === "conversation" && (
        <>
          <Conversation key={id} fold={seen.fold} version={seen.version} live={seen.live && !ended(execution.status.phase)} />
          {seen.fold.progress.map((told, n) => (
            <div key={n} class="dim">
              {[told.name, told.data === null ? told.note : JSON.stringify(told.data)].filter(Boolean).join(" ")}
            </div>
          ))}
          {execution.output !== undefined && (
            <section aria-label="Output">
              <h2>Output</h2>
              <pre class="block">{JSON.stringify(execution.output, null, 2)}</pre>
            </section>
          )}
        </>
      )}
    </main>
  );
}

function Head({ execution, now }: { execution: Shown; now: number }): JSX.Element {
  const { metadata, spec, status } = execution;
  const created = status.audit?.spec_audit?.created_at ?? status.messages?.[0]?.timestamp;
  const over = ended(status.phase);
  const waited = between(created, status.started_at ?? (over ? status.completed_at : now));
  const ran = between(status.started_at, over ? status.completed_at : now);
  const sum = totals(execution);
  const graph = metadata.annotations?.["agent-runner/graph"];
  const message = spec.message?.trim() ?? "";
  const links = useLinks(metadata.id);
  const labels = Object.entries(metadata.labels ?? {}).map(([name, value]) => `${name}:${value}`);
  return (
    <header>
      <div class="line">
        <span role="status">
          <Phase phase={status.phase} waits={execution.waiting_for_input} />
        </span>
        {codeIn(status.error) && <a class="code" href={listAddress({ code: codeIn(status.error) })}>{codeIn(status.error)}</a>}
        <span class="id dim">{metadata.id}</span>
        <Copy text={metadata.id} what="the id" />
        <span class="grow" />
        <Actions execution={execution} />
      </div>
      <h1>{cut(message.split("\n")[0] || "No message", 160)}</h1>
      <dl class="facts">
        <Fact name="Agent">{!graph && spec.agent_id && <AgentName id={spec.agent_id} />}</Fact>
        <Fact name="Graph">{graph && <a href={listAddress({ graph })}>{graph}</a>}</Fact>
        <Fact name="Session">
          {spec.session_id && (
            <>
              <a href={listAddress({ session: spec.session_id })} title={spec.session_id}>
                …{spec.session_id.slice(-8)}
              </a>
              <Neighbours id={metadata.id} session={spec.session_id} phase={status.phase} />
            </>
          )}
        </Fact>
        <Fact name="Created">
          <span title={whole(created)}>{moment(created, now)}</span>
        </Fact>
        <Fact name="By">{status.audit?.spec_audit?.created_by?.id}</Fact>
        <Fact name="Waited">{duration(waited)}</Fact>
        <Fact name={over ? "Ran" : "Runs for"}>{duration(ran)}</Fact>
        <Fact name="Tokens in / out">{sum.input || sum.output ? `${count(sum.input)} / ${count(sum.output)}` : ""}</Fact>
        <Fact name="Cost">{money(sum.cost)}</Fact>
        <Fact name="Model">{sum.models.join(", ") || spec.execution_config?.model_name}</Fact>
        <Fact name="Attempt">{sum.attempt}</Fact>
        <Fact name="Worker">{sum.worker}</Fact>
        <Fact name="Sandbox">{execution.sandbox}</Fact>
        <Fact name="Redriven from">
          {execution.redriven_from && <a href={executionAddress(execution.redriven_from)}>…{execution.redriven_from.slice(-8)}</a>}
        </Fact>
        <Fact name="Org">{metadata.org !== "local" && metadata.org}</Fact>
        <Fact name="Elsewhere">
          {links.length > 0 &&
            links.map(({ name, url }) => (
              <a key={url} class="elsewhere" href={url} target="_blank" rel="noopener noreferrer">
                {name} ↗
              </a>
            ))}
        </Fact>
        <Fact name="Labels">
          {labels.length > 0 &&
            labels.map((label) => (
              <a key={label} class="label" href={listAddress({ label })}>
                {label}
              </a>
            ))}
        </Fact>
      </dl>
    </header>
  );
}

function Raw({ execution }: { execution: Shown }): JSX.Element {
  const text = JSON.stringify(execution, null, 2);
  const most = 400_000;
  const save = (): void => {
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    Object.assign(document.createElement("a"), { href: url, download: `${execution.metadata.id}.json` }).click();
    URL.revokeObjectURL(url);
  };
  return (
    <section aria-label="JSON">
      <p class="line">
        <span class="dim">As GET /v1/executions/{execution.metadata.id} answers, {count(text.length)} characters</span>
        <Copy text={text} what="the JSON" />
        <button type="button" class="quiet" onClick={save}>
          save
        </button>
      </p>
      <pre class="block">{cut(text, most)}</pre>
    </section>
  );
}
