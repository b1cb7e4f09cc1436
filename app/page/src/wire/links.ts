// Where else the page leads: Flower, traces, logs, as the server's settings say.

import { useEffect, useState } from "preact/hooks";
import { read } from "./api";

interface Link {
  name: string;
  url: string;
}
const ID = "{execution_id}";
let known: Promise<Link[]> | undefined;

/** A server of another version has none; it is asked again with the next key. */
function linked(): Promise<Link[]> {
  known ??= read<{ links: Link[] }>("/v1/page").then(
    ({ links }) => links.filter(({ url }) => /^https?:/.test(url)),
    () => ((known = undefined), []),
  );
  return known;
}

/** Those of one execution, or without an id those that stand for themselves. */
export function useLinks(id = ""): Link[] {
  const [links, set] = useState<Link[]>([]);
  useEffect(() => void linked().then(set), []);
  const fitting = links.filter(({ url }) => url.includes(ID) === Boolean(id));
  return fitting.map(({ name, url }) => ({ name, url: url.replaceAll(ID, encodeURIComponent(id)) }));
}
