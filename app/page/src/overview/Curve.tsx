// A curve of the last hour as SVG: one line per kind, its greatest and its last value in words for whoever cannot see it.

import type { JSX } from "preact";
import { count, duration } from "../words";

interface CurveLine {
  name: string;
  kind: string;
  values: (number | null)[];
}
interface Given {
  title: string;
  lines: CurveLine[];
  bucketSeconds: number;
  /** The values are durations, and no counts. */
  seconds?: boolean;
}
const [WIDTH, HEIGHT] = [300, 84];

export function Curve({ title, lines, bucketSeconds, seconds = false }: Given): JSX.Element {
  const top = Math.max(...lines.flatMap((line) => line.values.map((value) => value ?? 0)), seconds ? 0.001 : 1);
  const told = (value: number): string => (seconds ? duration(value) : count(value));
  const sumOf = (line: CurveLine): number => line.values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
  const words = lines.map((line) => {
    const last = line.values.findLast((value) => value !== null) ?? 0;
    return seconds ? `${line.name}: ${told(last ?? 0)} at the end` : `${line.name}: ${told(sumOf(line))} in all`;
  });
  const length = Math.max(...lines.map((line) => line.values.length), 1);
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${title}. Greatest ${told(top)}. ${words.join(", ")}`} preserveAspectRatio="none">
        <line x1="0" x2={WIDTH} y1={HEIGHT - 1} y2={HEIGHT - 1} class="base" />
        {lines.map((line) => (
          <path key={line.name} class={`curve ${line.kind}`} d={path(line.values, top)} vector-effect="non-scaling-stroke" />
        ))}
      </svg>
      <div class="legend dim">
        <span>{duration(length * bucketSeconds)} ago</span>
        {lines.map((line, n) => (
          <span key={line.name} class={`key ${line.kind}`}>
            {words[n]}
          </span>
        ))}
        <span>greatest {told(top)}</span>
      </div>
    </figure>
  );
}

/** A gap where nothing was measured. */
function path(values: (number | null)[], top: number): string {
  const step = WIDTH / Math.max(values.length - 1, 1);
  let drawing = false;
  return values
    .map((value, n) => {
      if (value === null) {
        drawing = false;
        return "";
      }
      const verb = drawing ? "L" : "M";
      const alone = !drawing && (values[n + 1] ?? null) === null ? "h1.5" : "";
      drawing = true;
      return `${verb}${(n * step).toFixed(1)} ${(HEIGHT - 2 - (value / top) * (HEIGHT - 8)).toFixed(1)}${alone}`;
    })
    .join("");
}
