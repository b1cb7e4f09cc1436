// The page: where it is, who it speaks as, and whether somebody is there to take an execution.

import { type JSX, render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, listAddress, usePlace } from "./address";
import { Execution } from "./execution/Execution";
import { List } from "./list/List";
import { readPresence, useAsked } from "./overview/overview";
import { Workers } from "./overview/Workers";
import { Start } from "./start/Start";
import "./style/base.css";
import "./style/list.css";
import "./style/execution.css";
import "./style/others.css";
import { readKey, takeLinkedKey, useKey } from "./wire/api";
import { useLinks } from "./wire/links";

const THEMES = ["auto", "dark", "light"] as const;

let lastList = "#";

function Page(): JSX.Element {
  const place = usePlace();
  const [generation, renew] = useState(0);
  const presence = useAsked(readPresence, 3000);
  const links = useLinks();
  const [asksKey, askKey] = useState(false);
  const [theme, setTheme] = useState<string>(localStorage.getItem("theme") ?? "auto");
  const refused = /API key|authorization|unauthenticated/i.test(presence.problem);
  if (place.name === "list") lastList = listAddress(place.filters);
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem("theme", theme);
  }, [theme]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      const at = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || at.matches("input, textarea, select")) return;
      const there = { n: "#/start", e: lastList, w: "#/workers" }[event.key];
      if (!there) return;
      event.preventDefault();
      go(there);
    };
    const renewed = (): void => {
      renew((n) => n + 1);
      askKey(false);
    };
    addEventListener("key", renewed);
    addEventListener("keydown", pressed);
    return () => {
      removeEventListener("key", renewed);
      removeEventListener("keydown", pressed);
    };
  }, []);
  useEffect(() => {
    const names = { list: "Executions", workers: "Workers and queues", start: "Start", execution: "" };
    document.title = [place.name === "execution" ? place.id : names[place.name], "Agent Runner"].join(" · ");
    if (place.name !== "list") scrollTo(0, 0);
  }, [place.name, place.name === "execution" ? place.id : ""]);
  const tab = (name: string, address: string, text: string): JSX.Element => (
    <a href={address} aria-current={place.name === name ? "page" : undefined}>
      {text}
    </a>
  );
  return (
    <>
      <a class="skip" href="#view" onClick={(event) => (event.preventDefault(), document.querySelector<HTMLElement>("#view a, #view button, #view input")?.focus())}>
        To the content
      </a>
      <nav id="bar" aria-label="Main">
        <a class="brand" href="#">
          Agent Runner
        </a>
        {tab("list", lastList, "Executions")}
        {tab("workers", "#/workers", "Workers")}
        {tab("start", "#/start", "Start")}
        <span class="grow" />
        <span id="workers" class="dim" role="status">
          {presence.value && told(presence.value)}
        </span>
        {links.map(({ name, url }) => (
          <a key={url} href={url} class="wide" target="_blank" rel="noopener noreferrer">
            {name} ↗
          </a>
        ))}
        <a href="docs" class="quiet wide">
          API
        </a>
        <button
          type="button"
          class="quiet"
          title="Colours of the page"
          aria-label={`Colours: ${theme}`}
          onClick={() => setTheme(THEMES[(THEMES.indexOf(theme as "auto") + 1) % THEMES.length] ?? "auto")}
        >
          {theme}
        </button>
        <button type="button" class="quiet" aria-expanded={asksKey || refused} onClick={() => askKey(!asksKey)}>
          Key
        </button>
      </nav>
      {(asksKey || refused) && <KeyForm />}
      <div id="problem" role="alert" class={presence.problem ? "note bad" : ""}>
        {presence.problem}
      </div>
      {presence.value?.walls.map((said) => (
        <p key={said} class="note warn">
          Commands of agents are {said}.
        </p>
      ))}
      {!presence.value?.online &&
        presence.value?.failures.map((text) => (
          <pre key={text} class="note bad lines">
            {text}
          </pre>
        ))}
      <div key={generation} class="place">
        {place.name === "list" && <List filters={place.filters} />}
        {place.name === "execution" && <Execution id={place.id} tab={place.tab} />}
        {place.name === "workers" && <Workers />}
        {place.name === "start" && <Start key={place.given.toString()} given={place.given} />}
      </div>
    </>
  );
}

const told = ({ online, busy, slots }: { online: number; busy: number; slots: number }): string =>
  online ? `${online} ${online === 1 ? "worker" : "workers"} · ${busy} of ${slots} slots in use` : "No worker is online.";

function KeyForm(): JSX.Element {
  return (
    <form
      id="key"
      onSubmit={(event) => {
        event.preventDefault();
        const field = event.currentTarget.elements.namedItem("key") as HTMLInputElement;
        useKey(field.value);
        field.value = "";
        dispatchEvent(new Event("key"));
      }}
    >
      <label>
        API key
        <input name="key" type="password" autocomplete="off" required />
      </label>
      <button>Use</button>
      <span class="dim">It stays in this tab.</span>
    </form>
  );
}

readKey();
takeLinkedKey();
// Before all other listeners: a key must not be taken for the id of an execution, and so be sent in an address.
addEventListener("hashchange", () => takeLinkedKey() && dispatchEvent(new Event("key")));
render(<Page />, document.getElementById("page") as HTMLElement);
