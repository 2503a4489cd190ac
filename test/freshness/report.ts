/** What a run has shown, and whether it was enough to have shown anything. */
import { askerKinds } from './askers.ts';
import type { FaultName } from './faults.ts';
import type { RunResult } from './run.ts';

const kindNames = { lua: 'Lua', erlang: 'Erlang' };

/** For ten minutes; a run of another length is measured in proportion. */
const enough = { checked: 1_000_000, faults: 20 };
const tenMinutesMs = 600_000;

/** Sentences about what is too little; empty when the run counts. */
export function whatIsMissing(result: RunResult, durationMs: number, faults: readonly FaultName[]): string[] {
  const share = durationMs / tenMinutesMs;
  const missing: string[] = [];
  const wantedAnswers = Math.ceil(enough.checked * share);
  const wantedFaults = Math.floor(enough.faults * share);
  const { verdicts, applied } = result;
  if (verdicts.checked < wantedAnswers)
    missing.push(`${verdicts.checked} answers were checked; ${wantedAnswers} are needed`);
  for (const kind of askerKinds) {
    if (verdicts.by[kind].hits === 0) missing.push(`no near cache in ${kindNames[kind]} was ever hit`);
  }
  for (const name of faults) {
    const count = applied[name] ?? 0;
    if (count < wantedFaults) missing.push(`"${name}" was applied ${count} times; ${wantedFaults} are needed`);
  }
  return missing;
}

export function reportOf(result: RunResult, missing: readonly string[]): string {
  const { verdicts, changes, applied, sourceAsked, lost, folder } = result;
  const failed = Object.values(verdicts.failures).reduce((sum, count) => sum + count, 0);
  const rows: [string, string | number][] = [
    ['answers checked', verdicts.checked],
    ['  from near caches', verdicts.hits],
    ['  from workers', verdicts.answers],
    ...askerKinds.flatMap((kind): [string, number][] => [
      [`  by askers in ${kindNames[kind]}, near cache`, verdicts.by[kind].hits],
      [`  by askers in ${kindNames[kind]}, workers`, verdicts.by[kind].answers],
      [`  by askers in ${kindNames[kind]}, promises broken`, verdicts.by[kind].violations],
    ]),
    ['changes acknowledged', changes],
    ['questions to the application', sourceAsked],
    ['degraded answers (not checked)', verdicts.degraded],
    ['near-cache entries not served for want of a proof', verdicts.unproved],
    ['questions without an answer', failed],
    ...Object.entries(verdicts.failures).map(([kind, count]): [string, number] => [`  ${kind}`, count]),
    ['gaps that askers noticed', verdicts.gaps],
    ['invalidations lost on purpose', lost],
    ...Object.entries(applied).map(([name, count]): [string, number] => [`fault: ${name}`, count]),
    ['promises broken', verdicts.violationCount],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}  ${String(value).padStart(9)}`);
  for (const { promised, told, wanted } of verdicts.violations) {
    lines.push(`  broken (${promised}): told ${JSON.stringify(told)}, due ${JSON.stringify(wanted)}`);
  }
  if (verdicts.violationCount > 0) lines.push(`  the histories are in ${folder}`);
  for (const one of missing) lines.push(`  shows nothing: ${one}`);
  return `${lines.join('\n')}\n`;
}
