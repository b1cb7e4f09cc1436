// An agent by its name: executions know its id.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { listAddress } from "../address";
import { read } from "../wire/api";

const known = new Map<string, Promise<string>>();

/** The id itself where the agent is gone. */
function nameOf(id: string): Promise<string> {
  const asked = known.get(id);
  if (asked) return asked;
  const name = read<{ metadata: { slug?: string } }>(`/v1/agents/${encodeURIComponent(id)}`).then(
    ({ metadata }) => metadata.slug ?? id,
    () => (known.delete(id), id),
  );
  known.set(id, name);
  return name;
}

export function AgentName({ id }: { id: string }): JSX.Element {
  const [name, set] = useState(id);
  useEffect(() => {
    let here = true;
    void nameOf(id).then((found) => here && set(found));
    return () => {
      here = false;
    };
  }, [id]);
  return (
    <a href={listAddress({ agent: name })} title={id}>
      {name}
    </a>
  );
}
