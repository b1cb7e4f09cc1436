// Small parts that several views use.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { serverNow } from "../wire/api";
import { short, spoken } from "../words";

const SIGNS: Record<string, string> = { COMPLETED: "✓", FAILED: "✕", CANCELLED: "⊘", IN_PROGRESS: "▸", PENDING: "◦", WAITS: "?" };

/** The phase as a sign and a word: colour alone tells nobody anything. */
export function Phase({ phase, waits = false }: { phase: string; waits?: boolean }): JSX.Element {
  const name = waits ? "WAITS" : short(phase);
  return (
    <span class={`phase ${short(phase)}${waits ? " WAITS" : ""}`}>
      <span class="sign" aria-hidden="true">
        {SIGNS[name] ?? "·"}
      </span>
      {waits ? "needs an answer" : spoken(phase)}
    </span>
  );
}

/** Milliseconds of the server's clock, anew each second while something runs. */
export function useNow(runs: boolean): number {
  const [now, set] = useState(serverNow());
  useEffect(() => {
    set(serverNow());
    if (!runs) return;
    const timer = setInterval(() => document.hidden || set(serverNow()), 1000);
    return () => clearInterval(timer);
  }, [runs]);
  return now;
}

export function Copy({ text, what }: { text: string; what: string }): JSX.Element {
  const [done, set] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    set(true);
    setTimeout(() => set(false), 1200);
  };
  return (
    <button type="button" class="quiet" onClick={copy} aria-label={`Copy ${what}`} title={`Copy ${what}`}>
      {done ? "copied" : "copy"}
    </button>
  );
}

export function Note({ children, kind = "bad" }: { children: ComponentChildren; kind?: "bad" | "warn" | "info" }): JSX.Element {
  return (
    <div class={`note ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {children}
    </div>
  );
}

/** A name and its value; nothing where there is no value. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element | null {
  if (children === "" || children === undefined || children === null || children === false) return null;
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
