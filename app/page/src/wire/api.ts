// One way to ask the server: with the key, with its own words where it refuses, and with its clock.

/** A refusal, in the server's words. `status` is 0 where nobody answered. */
export class Refused extends Error {
  constructor(
    text: string,
    readonly status: number,
    readonly code = "",
  ) {
    super(text);
  }
}

let key = "";
let ahead = 0;

/** A link may bring the key in its fragment, which is sent nowhere; it is taken out of the address at once. */
export function takeLinkedKey(): boolean {
  const given = /^#key=(.+)$/.exec(location.hash);
  if (!given?.[1]) return false;
  history.replaceState(null, "", location.pathname + location.search);
  useKey(decodeURIComponent(given[1]));
  return true;
}

export function useKey(given: string): void {
  key = given;
  sessionStorage.setItem("key", given);
}

/** The key of an earlier page of this tab, else the one that `dev` uses where nobody gave another. */
export function readKey(): void {
  key = sessionStorage.getItem("key") || "dummy-local-key";
}

/** Milliseconds of the server's clock. Durations of what still runs are told by it and not by this machine's. */
export const serverNow = (): number => Date.now() + ahead;

export async function call(path: string, options: RequestInit = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new Refused("The server does not answer. The page asks again.", 0);
  }
  const date = Date.parse(answer.headers.get("date") ?? "");
  // The header has whole seconds: only a real difference counts.
  if (date) ahead = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const text = [said.detail || answer.statusText || `HTTP ${answer.status}`, said.next_step].filter(Boolean).join(" ");
  throw new Refused(text, answer.status, said.code ?? "");
}

export async function read<T>(path: string, options?: RequestInit): Promise<T> {
  return (await call(path, options)).json() as Promise<T>;
}

const unique = (): string => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;

/** A POST with a JSON body. The same click sent twice by a network is one execution: it has an idempotency key. */
export async function send<T>(path: string, body?: unknown): Promise<T> {
  const headers: Record<string, string> = { "Idempotency-Key": unique() };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return (await call(path, { method: "POST", headers, body: body === undefined ? undefined : JSON.stringify(body) }))
    .json() as Promise<T>;
}

/** `/v1/executions/ID`, and what stands below it. */
export const pathOf = (id: string, rest = ""): string => `/v1/executions/${encodeURIComponent(id)}${rest}`;

/** A query of what is given; empty values are left out. */
export function query(given: Record<string, string | number | undefined | string[]>): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(given))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined && one !== "") parts.append(name, String(one));
  const text = parts.toString();
  return text && `?${text}`;
}
