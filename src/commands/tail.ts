/** `warder tail`: decisions as they are made, on all workers. */
import { randomBytes } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';
import type { NatsConnection } from 'nats';
import { decisionsSubject, watchSubject } from '../nats/decisions-watch.ts';
import { decodePayload } from '../wire/codec.ts';
import { encodingOf } from '../wire/encoding.ts';
import type { Jid } from '../wire/jid.ts';
import { operationNames } from '../wire/operation.ts';
import { outcomes, watchedDecision, watchedDropped, watchReply } from '../wire/watch.ts';
import type { WatchedDecision } from '../wire/watch.ts';
import { askAll } from './ask-all.ts';
import { connectOnce, followConnection, refusalOf } from './connect-once.ts';
import type { Trouble } from './connect-once.ts';
import { decisionLine } from './decision-line.ts';
import { exitCodes } from './exit-codes.ts';
import { explainTrouble } from './explain-trouble.ts';
import { anyJid, roomJid } from './option-values.ts';
import { printReport } from './report.ts';
import { listenForSignals } from './signals.ts';
import { addTargetOptions, findTarget } from './target.ts';
import type { Target, TargetOptions } from './target.ts';
import { createPaint, printable, width, wrap } from './terminal.ts';

interface TailOptions extends TargetOptions {
  jid?: Jid;
  room?: Jid;
  verdict?: string[];
  operation?: string[];
  degraded?: true;
  count?: number;
  json?: true;
}

/** A worker forgets who watches after 15 s. */
const againMs = 5_000;

export function tailCommand(): Command {
  const command = new Command('tail')
    .description('show decisions as they are made, on all workers')
    .option('--jid <jid>', 'only those in which it stands on either side; a domain stands for everybody of it', anyJid)
    .option('--room <room>', 'only joins of this room, and what is sent to it or comes from it', roomJid)
    .option('--verdict <words>', `only these, with commas: ${outcomes.join(', ')}`, someOf(outcomes))
    .option('--operation <words>', `only these, with commas: ${operationNames.join(', ')}`, someOf(operationNames))
    .option('--degraded', 'only fallbacks, and what was not proved fresh')
    .option('--count <number>', 'end after so many', wholeNumber);
  return addTargetOptions(command)
    .option('--json', 'print a line of JSON a decision')
    .addHelpText(
      'after',
      `
What people write to each other is never shown. A worker shows at most 500
decisions a second to all who watch together; how many were left out is said.
What a hook remembers it decides by itself, and nobody hears of it.
Ctrl-C ends it.

Exit codes: 0 told to stop, or --count is reached, 1 no NATS server, or it
refuses this, 2 the command line is wrong.

Examples:
  warder tail --jid alice@localhost
  warder tail --room lobby@rooms.localhost --verdict deny,defer
  warder tail --degraded --json
`,
    )
    .action(tail);
}

/** Some of the words, separated by commas. */
function someOf(known: readonly string[]) {
  return (text: string): string[] => {
    const given = text.split(',').map((word) => word.trim());
    const wrong = given.find((word) => !known.includes(word));
    if (wrong !== undefined) throw new InvalidArgumentError(`There is no ${wrong}; there are ${known.join(', ')}.`);
    return given;
  };
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new InvalidArgumentError('It must be a number from 1 up.');
  return number;
}

async function tail(options: TailOptions): Promise<void> {
  const target = findTarget(options, process.env, process.cwd());
  const nats = await connectOnce(target.nats, true);
  const outcome = 'trouble' in nats ? nats : await watch(nats, target, options);
  if (outcome === undefined) return;
  const paint = createPaint(process.stdout, process.env);
  const text = explainTrouble(outcome, target, 'stanza-check', 0, paint);
  printReport({ exitCode: exitCodes.failed, text, json: { nats: target.nats.url, ...outcome } }, options.json === true);
}

/** Until somebody ends it: undefined. Else why not. */
async function watch(nats: NatsConnection, target: Target, options: TailOptions): Promise<Trouble | undefined> {
  const signals = listenForSignals(['SIGINT', 'SIGTERM', 'SIGHUP']);
  const id = randomBytes(12).toString('base64url');
  let again: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Trouble | undefined>((resolve, reject) => {
      const announce = announcer(nats, target, id, options);
      const failed = (error: unknown) => {
        const refused = refusalOf(error);
        if (refused !== undefined) resolve(refused);
        // What was asked when somebody ended it fails with the connection.
        else if (!nats.isClosed()) reject(error);
      };
      const announceAgain = () => void announce().catch(failed);
      void signals.stopped.then(() => resolve(undefined));
      void followConnection(nats, {
        refused: (detail) => resolve({ trouble: 'refused', detail }),
        away: () => say('the NATS server is gone: nothing is heard until it is back'),
        back: () => {
          say('the NATS server is back');
          announceAgain();
        },
      });
      const show = printer(id, options, () => resolve(undefined));
      nats.subscribe(decisionsSubject(target.nats.subject_prefix), {
        callback: (error, message) => (error === null ? show(message.data) : undefined),
      });
      announceAgain();
      again = setInterval(announceAgain, againMs);
    });
  } finally {
    clearInterval(again);
    signals.release();
    await nats.close();
  }
}

/** Tells the workers what is wanted, and the person how many they are when that has changed. */
function announcer(nats: NatsConnection, { nats: { url, subject_prefix } }: Target, id: string, options: TailOptions) {
  const { jid, room, verdict, operation, degraded } = options;
  const filter = { jid: jid?.full, room: room?.bare, verdict, operation, degraded };
  let before = '';
  say(`waiting for ${wantedOf(options)}, at ${url.join(', ')} with the prefix ${subject_prefix}`);
  return async () => {
    const answers = await askAll(nats, watchSubject(subject_prefix), JSON.stringify({ v: 1, id, filter }));
    const willing = answers.filter(
      (data) => watchReply.safeParse(decodePayload(data, encodingOf(data))).success,
    ).length;
    const others = answers.length - willing;
    const count = willing === 0 ? 'no worker tells' : willing === 1 ? '1 worker tells' : `${willing} workers tell`;
    const now = `${count}${others === 0 ? '' : `; ${others} more will not, because too many watch already`}`;
    if (now !== before) say(now);
    before = now;
  };
}

function wantedOf({ jid, room, verdict = [], operation = [], degraded }: TailOptions): string {
  const words = [
    ...(degraded === true ? ['degraded'] : []),
    ...(verdict.length === 0 ? [] : [verdict.join(' or ')]),
    'decisions',
    ...(operation.length === 0 ? [] : [`of ${operation.join(' or ')}`]),
    ...(jid === undefined ? [] : [`with ${jid.full}`]),
    ...(room === undefined ? [] : [`about ${room.bare}`]),
  ];
  return printable(words.join(' '));
}

/** Shows what is for us, and ends when it was enough. */
function printer(id: string, { json, count = Infinity }: TailOptions, enough: () => void): (data: Uint8Array) => void {
  const paint = createPaint(process.stdout, process.env);
  const columns = process.stdout.isTTY ? Math.max(process.stdout.columns, width) : Infinity;
  const write = (line: string) => process.stdout.write(`${line}\n`);
  let shown = 0;
  const decision = ({ v: _v, for: _for, ...told }: WatchedDecision): void => {
    if (shown >= count) return;
    shown += 1;
    write(json === true ? JSON.stringify(told) : decisionLine(told, new Date(told.at), paint, columns));
    if (shown >= count) enough();
  };
  return (data) => {
    const told = decodePayload(data, encodingOf(data));
    const made = watchedDecision.safeParse(told);
    if (made.success && made.data.for.includes(id)) return decision(made.data);
    const { worker = '', dropped = {}, at } = watchedDropped.safeParse(told).data ?? {};
    const left = dropped[id] ?? 0;
    if (left === 0) return;
    if (json === true) write(JSON.stringify({ worker, at, dropped: left }));
    else say(`${left} more decisions of the worker ${printable(worker)} in that second were left out`);
  };
}

/** Beside the decisions, which go to standard output. */
function say(text: string): void {
  process.stderr.write(`${wrap(text, 0)}\n`);
}
