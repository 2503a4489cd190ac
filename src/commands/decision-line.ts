/** One decision in words, for who watches them pass: on one line where it fits, else broken between its parts. */
import type { Told } from '../nats/watched.ts';
import { durationWords } from './explain-decision.ts';
import { printable } from './terminal.ts';
import type { Colour, Paint } from './terminal.ts';

/** Continued lines begin under the operation. */
const indent = 9;

/**
 * `12:00:01 stanza  deny   alice@localhost → bob@localhost (policy, 0.2 ms) You are blocked.`
 * @param columns what fits; Infinity: all on one line. An address that is longer is not broken.
 */
export function decisionLine(told: Told, at: Date, paint: Paint, columns = Infinity): string {
  const { operation, degraded, reason } = told;
  const [word, colour] = wordOf(told);
  const why = [degraded === undefined ? '' : `fallback, ${degraded};`, printable(reason ?? '')].join(' ').trim();
  const lines = new Lines(columns);
  lines.add(timeOf(at), (text) => paint('dim', text));
  lines.add((operation.split('-')[0] ?? operation).padEnd(7));
  lines.add(word.padEnd(6), (text) => paint(colour, text));
  for (const part of aboutOf(told)) lines.add(part);
  lines.add(`(${howOf(told)})`, (text) => paint('dim', text));
  for (const part of why.split(' ')) if (part !== '') lines.add(part);
  return lines.text;
}

/** Parts with a space between them, or a line break. */
class Lines {
  readonly #columns: number;
  #used = 0;
  text = '';

  constructor(columns: number) {
    this.#columns = columns;
  }

  add(part: string, paint: (text: string) => string = (text) => text): void {
    const isFirst = this.text === '';
    const fits = this.#used + 1 + part.length <= this.#columns;
    if (!isFirst) this.text += fits ? ' ' : `\n${' '.repeat(indent)}`;
    this.#used = isFirst ? part.length : fits ? this.#used + 1 + part.length : indent + part.length;
    this.text += paint(part);
  }
}

function howOf({ source, remembered, took_ms }: Told): string {
  return [printable(source ?? 'no source'), remembered ? 'remembered' : '', durationWords(took_ms)]
    .filter((part) => part !== '')
    .join(', ');
}

const colours: Readonly<Record<string, Colour>> = { allow: 'green', ok: 'green', deny: 'red', drop: 'red' };

function wordOf({ verdict, failure, degraded }: Told): [string, Colour] {
  if (verdict === 'failed') return [`FAILED ${failure ?? ''}`.trimEnd(), 'red'];
  if (verdict === 'errors') return ['errors', 'red'];
  return [verdict, degraded === undefined ? (colours[verdict] ?? 'yellow') : 'yellow'];
}

/** Who and whom. */
function aboutOf({ operation, request }: Told): string[] {
  if (request === undefined) return ['a request that could not be read'];
  const word = (key: string): string => {
    const value = request[key];
    return typeof value === 'string' ? printable(value) : '';
  };
  const bare = (key: string): string => word(key).split('/')[0] ?? '';
  switch (operation) {
    case 'stanza-check': {
      const what = word('kind') === 'message' ? [] : [word('kind')];
      return [bare('from'), `→ ${bare('to')}`, ...what];
    }
    case 'join-check':
      return [bare('user'), `→ ${bare('room')}`];
    case 'session-check':
    case 'user-removed':
      return [bare('user')];
    case 'roster-set':
      return [bare('user'), `${request['remove'] === true ? 'removes' : 'sets'} ${bare('contact')}`];
    case 'roster-subscription':
      return [bare('user'), `${word('direction') === 'out' ? '→' : '←'} ${bare('contact')}`, word('action')];
    case 'roster-refresh':
      return usersOf(request);
  }
}

function usersOf({ users, users_total: total }: Record<string, unknown>): string[] {
  const all = Array.isArray(users) ? users.map((user) => printable(String(user))) : [];
  const shown = all.slice(0, 3);
  const more = Number(total ?? all.length) - shown.length;
  const listed = shown.map((user, index) => (index < shown.length - 1 ? `${user},` : user));
  return more > 0 ? [...listed, `and ${more} more`] : listed;
}

/** `12:00:01`, here. */
export function timeOf(date: Date): string {
  return date.toTimeString().slice(0, 8);
}
