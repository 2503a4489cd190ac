/** Reads what the askers wrote down (the format is in asker.lua) and holds it against the promises. */
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import type { AskerKind } from './askers.ts';
import type { Promises, Violation } from './promises.ts';

export interface Verdicts {
  /** Answers that were checked: hits and answers of workers that are not degraded. */
  checked: number;
  hits: number;
  answers: number;
  /** The same by whose near cache was asked. */
  readonly by: Record<AskerKind, { hits: number; answers: number; violations: number }>;
  degraded: number;
  failures: Record<string, number>;
  gaps: number;
  /** Hits that the near caches had and did not serve for want of a proof. */
  unproved: number;
  violationCount: number;
  /** The first few. */
  readonly violations: Violation[];
}

const keptViolations = 20;

export function noVerdicts(): Verdicts {
  return {
    checked: 0,
    hits: 0,
    answers: 0,
    by: { lua: { hits: 0, answers: 0, violations: 0 }, erlang: { hits: 0, answers: 0, violations: 0 } },
    degraded: 0,
    failures: {},
    gaps: 0,
    unproved: 0,
    violationCount: 0,
    violations: [],
  };
}

/** Adds one asker's history. A last line that was cut off when the asker was killed is no line. */
export async function judge(file: string, kind: AskerKind, promises: Promises, verdicts: Verdicts): Promise<void> {
  let unproved = 0;
  let gaps = 0;
  const of = verdicts.by[kind];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const event = parse(line);
    switch (event?.[0]) {
      case 'h':
        verdicts.hits += 1;
        of.hits += 1;
        if (!check(event, 6, `${basename(file)}, near`, promises, verdicts)) of.violations += 1;
        break;
      case 'a':
        verdicts.answers += 1;
        of.answers += 1;
        if (!check(event, 7, `${basename(file)}, worker`, promises, verdicts)) of.violations += 1;
        break;
      case 'd':
        verdicts.degraded += 1;
        break;
      case 'f': {
        const failure = String(event[5]);
        verdicts.failures[failure] = (verdicts.failures[failure] ?? 0) + 1;
        break;
      }
      case 's': {
        const stats = event[3] as Record<string, unknown>;
        unproved = Number(stats['unproved'] ?? 0);
        gaps = Number(stats['gaps'] ?? 0);
        break;
      }
      default:
    }
  }
  verdicts.unproved += unproved;
  verdicts.gaps += gaps;
}

function parse(line: string): unknown[] | undefined {
  try {
    const event: unknown = JSON.parse(line);
    return Array.isArray(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

/** `["h",Q,ASKED,SEEN,SEQ,VERDICT,REASON]` and `["a",Q,ASKED,ANSWERED,SEEN,SEQ,VERDICT,REASON,…]`: whether it kept what was promised. */
function check(event: unknown[], reasonAt: number, by: string, promises: Promises, verdicts: Verdicts): boolean {
  const version = /^v=(\d+)$/.exec(String(event[reasonAt]))?.[1];
  if (version === undefined) throw new Error(`an answer without version: ${JSON.stringify(event)}`);
  verdicts.checked += 1;
  const violation = promises.violationOf({
    by,
    question: String(event[1]),
    askedAtUs: Number(event[2]),
    seen: Number(event[reasonAt - 3]),
    version: Number(version),
  });
  if (violation === undefined) return true;
  verdicts.violationCount += 1;
  if (verdicts.violations.length < keptViolations) verdicts.violations.push(violation);
  return false;
}
