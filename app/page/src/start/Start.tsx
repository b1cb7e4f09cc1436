// Start an execution: with an agent, a graph or a session, a message or an input, secrets, timeouts.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { executionAddress, go } from "../address";
import { Note } from "../parts/parts";
import { send } from "../wire/api";
import type { Execution, Json } from "../wire/types";
import { type Choices, readChoices } from "./choices";

const TIMEOUTS: [string, string, string][] = [
  ["schedule_to_start_s", "Schedule to start", "how long it may wait for a worker"],
  ["heartbeat_s", "Heartbeat", "how long a worker may be silent"],
  ["start_to_close_s", "Start to close", "how long it may run"],
  ["schedule_to_close_s", "Schedule to close", "how long it may take in all"],
];
interface Secret {
  name: string;
  value: string;
}

export function Start({ given }: { given: URLSearchParams }): JSX.Element {
  const [choices, setChoices] = useState<Choices>({ agents: [], graphs: [], sessions: [] });
  const [with_, setWith] = useState(prefilled(given));
  const [message, setMessage] = useState(given.get("message") ?? "");
  const [input, setInput] = useState("");
  const [model, setModel] = useState("");
  const [secrets, setSecrets] = useState<Secret[]>([]);
  const [timeouts, setTimeouts] = useState<Record<string, string>>({});
  const [problem, tell] = useState("");
  const [busy, setBusy] = useState(false);
  const first = useRef<HTMLTextAreaElement>(null);
  useEffect(() => {
    first.current?.focus();
    const stop = new AbortController();
    void readChoices(stop.signal).then((found) => stop.signal.aborted || setChoices(found));
    return () => stop.abort();
  }, []);
  const start = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    tell("");
    try {
      const made = await send<Execution>("/v1/executions", bodyOf({ with_, message, input, model, secrets, timeouts }));
      go(executionAddress(made.metadata.id));
    } catch (error) {
      tell((error as Error).message);
      setBusy(false);
    }
  };
  const session = with_.startsWith("session_id=") ? with_.slice(11) : "";
  return (
    <main id="view" class="start-view">
      <h1>Start an execution</h1>
      <form id="new" onSubmit={start}>
        <label>
          Run with
          <select name="with" value={with_} onChange={(event) => setWith(event.currentTarget.value)}>
            <option value="">the built-in agent</option>
            {session && !choices.sessions.some((one) => one.value === session) && <option value={with_}>session {session}</option>}
            {(["agents", "graphs", "sessions"] as const).map((kind) =>
              choices[kind].length ? (
                <optgroup key={kind} label={{ agents: "Agents", graphs: "Graphs", sessions: "Go on with a session" }[kind]}>
                  {choices[kind].map((one) => {
                    const value = `${{ agents: "agent", graphs: "graph", sessions: "session_id" }[kind]}=${one.value}`;
                    return (
                      <option key={value} value={value} selected={value === with_}>
                        {one.text}
                      </option>
                    );
                  })}
                </optgroup>
              ) : null,
            )}
          </select>
        </label>
        <label>
          Message
          <textarea
            ref={first}
            name="message"
            rows={6}
            value={message}
            placeholder="A message to the agent. Ctrl+Enter starts it."
            onInput={(event) => setMessage(event.currentTarget.value)}
            onKeyDown={(event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && void start(event)}
          />
        </label>
        <details>
          <summary>Model, input, secrets, timeouts</summary>
          <label>
            Model
            <input name="model" value={model} placeholder="the configured one" autocomplete="off" onInput={(event) => setModel(event.currentTarget.value)} />
          </label>
          <label>
            Input, JSON
            <textarea
              name="input"
              class="code"
              rows={4}
              value={input}
              spellcheck={false}
              placeholder={'{"question": "for graphs whose state has no messages"}'}
              onInput={(event) => setInput(event.currentTarget.value)}
            />
          </label>
          <fieldset>
            <legend>Secrets of the run (its environment; stored sealed, shown nowhere)</legend>
            {secrets.map((secret, n) => (
              <div key={n} class="line">
                <input
                  aria-label="Name of the secret"
                  placeholder="NAME"
                  value={secret.name}
                  autocomplete="off"
                  onInput={(event) => setSecrets(secrets.with(n, { ...secret, name: event.currentTarget.value }))}
                />
                <input
                  type="password"
                  aria-label="Value of the secret"
                  placeholder="value"
                  value={secret.value}
                  autocomplete="new-password"
                  onInput={(event) => setSecrets(secrets.with(n, { ...secret, value: event.currentTarget.value }))}
                />
                <button type="button" class="quiet" aria-label="Remove the secret" onClick={() => setSecrets(secrets.toSpliced(n, 1))}>
                  Remove
                </button>
              </div>
            ))}
            <button type="button" onClick={() => setSecrets([...secrets, { name: "", value: "" }])}>
              Add a secret
            </button>
          </fieldset>
          <fieldset class="timeouts">
            <legend>Timeouts, seconds</legend>
            {TIMEOUTS.map(([name, label, about]) => (
              <label key={name} title={about}>
                {label}
                <input
                  name={name}
                  type="number"
                  min="0"
                  step="any"
                  value={timeouts[name] ?? ""}
                  placeholder="default"
                  onInput={(event) => setTimeouts({ ...timeouts, [name]: event.currentTarget.value })}
                />
              </label>
            ))}
          </fieldset>
        </details>
        {problem && <Note>{problem}</Note>}
        <button class="main" disabled={busy}>
          Run
        </button>
      </form>
    </main>
  );
}

function prefilled(given: URLSearchParams): string {
  for (const [short, name] of [["session", "session_id"], ["graph", "graph"], ["agent", "agent"]] as const) {
    const value = given.get(short);
    if (value) return `${name}=${value}`;
  }
  return "";
}

interface Filled {
  with_: string;
  message: string;
  input: string;
  model: string;
  secrets: Secret[];
  timeouts: Record<string, string>;
}

/** The short form of `POST /v1/executions`. An Error in words where the input is no JSON. */
function bodyOf({ with_, message, input, model, secrets, timeouts }: Filled): Record<string, Json> {
  const body: Record<string, Json> = {};
  const at = with_.indexOf("=");
  if (at > 0) body[with_.slice(0, at)] = with_.slice(at + 1);
  if (message) body["message"] = message;
  if (input.trim()) {
    try {
      body["input"] = JSON.parse(input);
    } catch (error) {
      throw new Error(`The input is no JSON: ${(error as Error).message}`);
    }
  }
  if (model.trim()) body["model"] = model.trim();
  const env = secrets.filter((secret) => secret.name.trim());
  if (env.length) body["env"] = Object.fromEntries(env.map((secret) => [secret.name.trim(), secret.value]));
  const seconds = Object.entries(timeouts).filter(([, value]) => value !== "");
  if (seconds.length) body["timeouts"] = Object.fromEntries(seconds.map(([name, value]) => [name, Number(value)]));
  return body;
}
