/** A policy service that takes its time, a process of its own: `slow-service MS` allows everything after so many milliseconds, for the pair. */
import { serveSlowly } from './slow-answers.ts';

serveSlowly(
  Buffer.from(JSON.stringify({ verdict: 'allow', scope: 'pair', ttl_ms: 3_600_000 })),
  Number(process.argv[2]),
);
