// What an execution can be started with, from the lists that the server has.

import { read } from "../wire/api";
import { cut } from "../words";

export interface Choice {
  value: string;
  text: string;
}
export interface Choices {
  agents: Choice[];
  graphs: Choice[];
  sessions: Choice[];
}
interface Resource {
  metadata: { id: string; name?: string; slug?: string };
  spec: { subject?: string; description?: string };
}

/** A list that cannot be read is empty: the others still can be chosen from. */
export async function readChoices(signal: AbortSignal): Promise<Choices> {
  const listed = async (path: string): Promise<Resource[]> =>
    (await read<{ entries: Resource[] }>(`${path}?page_size=50`, { signal })).entries;
  const graphs = async (): Promise<string[]> => {
    const body = JSON.stringify({ limit: 100, metadata: { created_by: "system" } });
    const headers = { "Content-Type": "application/json" };
    const found = await read<{ graph_id: string }[]>("/assistants/search", { method: "POST", body, headers, signal });
    return [...new Set(found.map((one) => one.graph_id))];
  };
  const none = (): never[] => [];
  const [agents, names, sessions] = await Promise.all([
    listed("/v1/agents").catch(none),
    graphs().catch(none),
    listed("/v1/sessions").catch(none),
  ]);
  return {
    agents: agents.map(({ metadata, spec }) => ({
      value: metadata.slug ?? metadata.id,
      text: [metadata.name ?? metadata.slug, spec.description && cut(spec.description, 60)].filter(Boolean).join(" · "),
    })),
    // The built-in agent is offered by itself.
    graphs: names.filter((name) => name !== "agent-runner").map((name) => ({ value: name, text: name })),
    sessions: sessions.map(({ metadata, spec }) => ({ value: metadata.id, text: `${cut(spec.subject || "no subject", 60)} · …${metadata.id.slice(-8)}` })),
  };
}
