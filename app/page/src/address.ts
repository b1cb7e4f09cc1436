// The address is the state: a link shows what its sender saw. `#?filters` the list, `#ID` one execution, `#/workers`,
// `#/start?prefilled`. The older `#ID` of links in chats and tickets stays good.

import { useEffect, useState } from "preact/hooks";

export interface Filters {
  phase: string[];
  code: string;
  agent: string;
  graph: string;
  session: string;
  label: string;
  after: string;
  before: string;
  q: string;
  waiting: boolean;
  page: string;
}

export type Place =
  | { name: "list"; filters: Filters }
  | { name: "execution"; id: string; tab: string }
  | { name: "workers" }
  | { name: "start"; given: URLSearchParams };

const TEXTS = ["code", "agent", "graph", "session", "label", "after", "before", "q", "page"] as const;

export function parse(hash: string): Place {
  const [path = "", rest = ""] = hash.replace(/^#/, "").split("?", 2);
  const given = new URLSearchParams(rest);
  // Never an id: a key is sent in no address.
  if (path === "" || path === "/" || path.startsWith("key=")) return { name: "list", filters: filtersOf(given) };
  if (path === "/workers") return { name: "workers" };
  if (path === "/start") return { name: "start", given };
  return { name: "execution", id: decodeURIComponent(path), tab: given.get("tab") ?? "conversation" };
}

function filtersOf(given: URLSearchParams): Filters {
  const texts = Object.fromEntries(TEXTS.map((name) => [name, given.get(name) ?? ""]));
  return { ...texts, phase: given.getAll("phase"), waiting: given.get("waiting") === "true" } as Filters;
}

export const NO_FILTERS = filtersOf(new URLSearchParams());

export function listAddress(filters: Partial<Filters>): string {
  const given = new URLSearchParams();
  for (const phase of filters.phase ?? []) given.append("phase", phase);
  for (const name of TEXTS) if (filters[name]) given.set(name, filters[name]);
  if (filters.waiting) given.set("waiting", "true");
  const text = given.toString();
  return text ? `#?${text}` : "#";
}

export const executionAddress = (id: string, tab = ""): string =>
  `#${encodeURIComponent(id)}${tab && tab !== "conversation" ? `?tab=${tab}` : ""}`;

export function go(address: string, { replace = false } = {}): void {
  if (address === (location.hash || "#")) return;
  if (replace) history.replaceState(null, "", address === "#" ? location.pathname + location.search : address);
  else history.pushState(null, "", address === "#" ? location.pathname + location.search : address);
  dispatchEvent(new Event("moved"));
}

/** Where the page is; anew at each move. */
export function usePlace(): Place {
  const [hash, set] = useState(location.hash);
  useEffect(() => {
    const moved = (): void => set(location.hash);
    const names = ["hashchange", "popstate", "moved"];
    for (const name of names) addEventListener(name, moved);
    moved();
    return () => names.forEach((name) => removeEventListener(name, moved));
  }, []);
  return parse(hash);
}
