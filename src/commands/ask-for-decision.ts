/** Asks one of the three checks and reports what came of it. */
import type { Operation } from '../wire/operation.ts';
import { openAsker } from './asking.ts';
import type { Trouble } from './connect-once.ts';
import { exitCodes } from './exit-codes.ts';
import { durationWords, exitCodeOf, explainDecision, readDecision } from './explain-decision.ts';
import type { Asked } from './explain-decision.ts';
import { explainTrouble } from './explain-trouble.ts';
import { printReport } from './report.ts';
import type { Report } from './report.ts';
import { findTarget } from './target.ts';
import type { TargetOptions } from './target.ts';
import { createPaint } from './terminal.ts';

export interface AskOptions extends TargetOptions {
  timeout: number;
  json?: true;
}

export async function askForDecision(
  operation: Operation,
  question: object,
  asked: Asked,
  options: AskOptions,
): Promise<void> {
  const paint = createPaint(process.stdout, process.env);
  const target = findTarget(options, process.env, process.cwd());
  const { timeout, json } = options;
  const subject = `${target.nats.subject_prefix}.${operation}`;
  const about = { operation, question, subject, nats: target.nats.url };
  const troubled = (trouble: Trouble): Report => ({
    exitCode: exitCodes.failed,
    text: explainTrouble(trouble, target, operation, timeout, paint),
    json: { ...about, ...trouble },
  });
  const asker = await openAsker(target.nats);
  if ('trouble' in asker) return printReport(troubled(asker), json === true);
  try {
    const outcome = await asker.ask(operation, question, timeout);
    if ('trouble' in outcome) return printReport(troubled(outcome), json === true);
    const { reply, tookMs } = outcome;
    const answer = readDecision(reply);
    if (answer === undefined) {
      const detail = `its verdict fields are not those of the protocol: ${JSON.stringify(reply).slice(0, 200)}`;
      return printReport(troubled({ trouble: 'bad-reply', detail }), json === true);
    }
    const context: [string, string][] = [
      ['took', `${durationWords(tookMs)}, by ${subject} at ${target.nats.url.join(', ')}`],
    ];
    printReport(
      {
        exitCode: exitCodeOf(answer),
        text: explainDecision(asked, answer, context, paint),
        json: { ...about, reply, took_ms: Number(tookMs.toFixed(3)) },
      },
      json === true,
    );
  } finally {
    await asker.close();
  }
}
