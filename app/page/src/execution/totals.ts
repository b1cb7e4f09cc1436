// What the messages of an execution say about it together.

import type { Cost, Execution } from "../wire/types";

export interface Totals {
  input: number;
  output: number;
  /** Of all model calls; none where one has no price. */
  cost: Cost | undefined;
  models: string[];
  attempt: number | undefined;
  worker: string | undefined;
}

export function totals(execution: Execution): Totals {
  const models = new Set<string>();
  let priced = true;
  const sum: Totals = { input: 0, output: 0, cost: undefined, models: [], attempt: undefined, worker: undefined };
  for (const { metadata } of execution.status.messages ?? []) {
    if (!metadata) continue;
    sum.input += metadata.usage?.input_tokens ?? 0;
    sum.output += metadata.usage?.output_tokens ?? 0;
    const { cost } = metadata;
    if (cost && (!sum.cost || sum.cost.currency === cost.currency)) {
      sum.cost = { amount: (sum.cost?.amount ?? 0) + cost.amount, currency: cost.currency };
    } else if (cost || metadata.usage || metadata.model) priced = false;
    if (metadata.model) models.add(metadata.model);
    sum.attempt = metadata.attempt ?? sum.attempt;
    sum.worker = metadata.worker ?? sum.worker;
  }
  return { ...sum, cost: priced ? sum.cost : undefined, models: [...models] };
}
