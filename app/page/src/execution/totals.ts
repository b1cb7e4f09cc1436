// What the messages of an execution say about it together.

import type { Execution } from "../wire/types";

export interface Totals {
  input: number;
  output: number;
  models: string[];
  attempt: number | undefined;
  worker: string | undefined;
}

export function totals(execution: Execution): Totals {
  const models = new Set<string>();
  const sum: Totals = { input: 0, output: 0, models: [], attempt: undefined, worker: undefined };
  for (const { metadata } of execution.status.messages ?? []) {
    if (!metadata) continue;
    sum.input += metadata.usage?.input_tokens ?? 0;
    sum.output += metadata.usage?.output_tokens ?? 0;
    if (metadata.model) models.add(metadata.model);
    sum.attempt = metadata.attempt ?? sum.attempt;
    sum.worker = metadata.worker ?? sum.worker;
  }
  return { ...sum, models: [...models] };
}
