// Numbers and times as people read them.

export const ENDED = ["EXECUTION_COMPLETED", "EXECUTION_FAILED", "EXECUTION_CANCELLED"];
export const PHASES = ["EXECUTION_PENDING", "EXECUTION_IN_PROGRESS", ...ENDED];
export const short = (phase: string | undefined): string => (phase ?? "").replace(/^EXECUTION_/, "");
/** For sentences and labels: `in progress`. */
export const spoken = (phase: string | undefined): string => short(phase).replaceAll("_", " ").toLowerCase();
export const ended = (phase: string | undefined): boolean => ENDED.includes(phase ?? "");

export function duration(seconds: number | undefined): string {
  if (seconds === undefined || Number.isNaN(seconds)) return "";
  if (seconds < 0.9995) return `${Math.max(0, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const [minutes, rest] = [Math.floor(seconds / 60), Math.floor(seconds % 60)];
  if (minutes < 60) return `${minutes} m ${String(rest).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const between = (from: string | undefined, to: string | number | undefined): number | undefined => {
  if (!from || !to) return undefined;
  return ((typeof to === "number" ? to : Date.parse(to)) - Date.parse(from)) / 1000;
};

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** The time of day, with the day where it is not today's. */
export function moment(at: string | undefined, now: number): string {
  if (!at) return "";
  const then = new Date(at);
  const same = then.toDateString() === new Date(now).toDateString();
  return same ? TIME.format(then) : `${DAY.format(then)} ${TIME.format(then)}`;
}
export const whole = (at: string | undefined): string => (at ? WHOLE.format(new Date(at)) : "");

export const count = (number: number | undefined): string => (number === undefined ? "" : number.toLocaleString("en"));
export function compact(number: number): string {
  if (number < 1000) return String(number);
  if (number < 99_950) return `${(number / 1000).toFixed(1)}k`;
  return number < 999_500 ? `${Math.round(number / 1000)}k` : `${(number / 1e6).toFixed(1)}M`;
}
export const tokensIn = (tokens: { input?: number; output?: number } | undefined): string =>
  tokens && (tokens.input || tokens.output) ? `${compact(tokens.input ?? 0)} / ${compact(tokens.output ?? 0)}` : "";

export const money = (cost: { amount: number; currency: string } | undefined): string =>
  cost ? `${cost.amount >= 1 ? cost.amount.toFixed(2) : cost.amount.toLocaleString("en", { maximumSignificantDigits: 3 })} ${cost.currency}` : "";

export const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
/** The kept phrase of errors begins with a sign that many fonts lack; the page has signs of its own. */
export const plain = (text: string | undefined): string => (text ?? "").replace(/^\u274c\ufe0f?\s*/u, "");
/** The code at the end of an error's text: `[E101 SCHEDULE_TO_START]`. */
export const codeIn = (error: string | undefined): string => /\[(E\d{3})(?: [A-Z_]+)?\]\s*$/.exec(error ?? "")?.[1] ?? "";
