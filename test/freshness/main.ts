/** `npm run check:freshness`: a long run with a report. Fails when a promise was broken, or when the run has shown nothing. */
import { parseArgs } from 'node:util';
import { faults } from './faults.ts';
import type { FaultName } from './faults.ts';
import { reportOf, whatIsMissing } from './report.ts';
import { runChecker } from './run.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    brokers: { type: 'string', default: 'both' },
    'bound-ms': { type: 'string', default: '2000' },
    rate: { type: 'string', default: '2000' },
  },
});

const minutes = Number(values.minutes);
const seed = Number(values.seed);
const boundMs = Number(values['bound-ms']);
const isSensible = minutes > 0 && minutes <= 240 && Number.isSafeInteger(seed) && boundMs >= 200;
if (!isSensible || !['1', '3', 'both'].includes(values.brokers)) {
  process.stderr.write(
    'usage: npm run check:freshness -- [--minutes 10] [--seed 1] [--brokers 1|3|both] [--bound-ms 2000] [--rate 2000]\n',
  );
  process.exit(2);
}

/** Half of the time each, where both are wanted. */
const parts: (1 | 3)[] = values.brokers === 'both' ? [1, 3] : [values.brokers === '3' ? 3 : 1];
let isGood = true;
for (const brokers of parts) {
  const durationMs = (minutes * 60_000) / parts.length;
  const names = (Object.keys(faults) as FaultName[]).filter((name) => brokers === 3 || name !== 'leader cut off');
  process.stdout.write(
    `${brokers === 1 ? 'one broker' : 'three brokers, three replicas'}, seed ${seed}, ${minutes / parts.length} minutes\n`,
  );
  const result = await runChecker({
    seed,
    durationMs,
    brokers,
    boundMs,
    faults: names,
    faultsAtOnce: 2,
    faultGapMs: 2_000,
    changesPerSecond: 4,
    budgetMs: 250,
    sourceMs: 0,
    askers: { lua: 2, erlang: 2 },
    asksPerSecond: Number(values.rate),
    root: process.cwd(),
    say: (line) => process.stderr.write(`  ${line}\n`),
  });
  const missing = whatIsMissing(result, durationMs, names);
  process.stdout.write(reportOf(result, missing));
  isGood &&= missing.length === 0 && result.verdicts.violationCount === 0;
}
process.exitCode = isGood ? 0 : 1;
