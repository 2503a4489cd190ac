/** What `warder dev` prints while it runs: a line a decision, and the worker's log in words. */
import type { Config } from '../config/schema.ts';
import type { Answered } from '../nats/serve.ts';
import type {
  JoinCheck,
  RosterRefresh,
  RosterSet,
  RosterSubscription,
  SessionCheck,
  StanzaCheck,
  UserRemoved,
} from '../wire/requests.ts';
import type { DecisionReply, Reply } from '../wire/replies.ts';
import { durationWords } from './explain-decision.ts';
import { printable } from './terminal.ts';
import type { Colour, Paint } from './terminal.ts';

/** `12:00:01 stanza  deny    alice@localhost → bob@localhost  (policy, 0.2 ms) You are blocked.` */
export function decisionLine(answered: Answered, operations: Config['operations'], paint: Paint, now: Date): string {
  const { operation, reply, tookMs, isAtOnce } = answered;
  const [about, domain] = aboutOf(answered);
  const sources: Record<string, { readonly source: string } | undefined> = operations[operation].sources;
  const source = (sources[domain] ?? sources['*'])?.source;
  const isRemembered = isAtOnce && typeof reply !== 'string' && 'ttl_ms' in reply && reply.ttl_ms > 0;
  const how = [source ?? 'no source', isRemembered ? 'remembered' : '', durationWords(tookMs)].filter(
    (part) => part !== '',
  );
  const [word, colour] = wordOf(reply);
  const reason = typeof reply === 'string' ? '' : reasonOf(reply);
  return [
    paint('dim', timeOf(now)),
    (operation.split('-')[0] ?? operation).padEnd(7),
    paint(colour, word.padEnd(6)),
    about,
    paint('dim', `(${how.join(', ')})`) + (reason === '' ? '' : ` ${printable(reason)}`),
  ].join(' ');
}

function wordOf(reply: Answered['reply']): [string, Colour] {
  if (typeof reply === 'string') return [`FAILED ${reply}`, 'red'];
  if ('verdict' in reply) {
    const colour =
      reply.verdict === 'allow' ? 'green' : reply.verdict === 'deny' || reply.verdict === 'drop' ? 'red' : 'yellow';
    return [reply.verdict, reply.degraded === undefined ? colour : 'yellow'];
  }
  if ('rosters' in reply) return reply.errors > 0 ? ['errors', 'red'] : ['ok', 'green'];
  return ['ok', 'green'];
}

function reasonOf(reply: Reply): string {
  if ('verdict' in reply) return decisionReason(reply);
  if ('rosters' in reply)
    return Object.entries(reply.failed)
      .map(([user, why]) => `${user}: ${why}`)
      .join('; ');
  return '';
}

function decisionReason({ reason, error, degraded }: DecisionReply): string {
  const said = reason ?? error?.text ?? error?.condition ?? '';
  return degraded === undefined ? said : `fallback, ${degraded}; ${said}`;
}

/** Who and whom, and the domain whose source was asked. */
function aboutOf({ operation, request }: Answered): [string, string] {
  if (request === undefined) return ['a request that could not be read', ''];
  switch (operation) {
    case 'stanza-check': {
      const { from, to, kind, hook } = request as StanzaCheck;
      const what = kind === 'message' ? '' : ` ${kind}`;
      return [`${from.bare} → ${to.bare}${what}`, hook === 'send' ? from.domain : to.domain];
    }
    case 'join-check': {
      const { user, room } = request as JoinCheck;
      return [`${user.bare} → ${room.bare}`, room.domain];
    }
    case 'session-check':
    case 'user-removed': {
      const { user } = request as SessionCheck | UserRemoved;
      return [user.bare, user.domain];
    }
    case 'roster-set': {
      const { user, contact, remove } = request as RosterSet;
      return [`${user.bare} ${remove ? 'removes' : 'sets'} ${contact.bare}`, user.domain];
    }
    case 'roster-subscription': {
      const { user, contact, direction, action } = request as RosterSubscription;
      return [`${user.bare} ${direction === 'out' ? '→' : '←'} ${contact.bare} ${action}`, user.domain];
    }
    case 'roster-refresh': {
      const { users } = request as RosterRefresh;
      const shown = users.slice(0, 3).map(printable).join(', ');
      return [users.length > 3 ? `${shown} and ${users.length - 3} more` : shown, users[0]?.split('@')[1] ?? ''];
    }
  }
}

/** An event of the worker's log, as it was written: one line of JSON. Undefined for what only repeats other lines. */
export function logLine(json: string, paint: Paint): string | undefined {
  const event = JSON.parse(json) as Record<string, unknown>;
  const { level, time, msg, ...rest } = event;
  // Of what goes well only the sources' own news is worth a line here, unless somebody asks for everything.
  if (level === 30 && !('source' in rest)) return undefined;
  const word = Number(level) >= 50 ? paint('red', 'error') : Number(level) >= 40 ? paint('yellow', 'warning') : 'note';
  const details = Object.entries(rest).map(([key, value]) => `${key} ${wordsOf(value)}`);
  const text = [String(msg), ...details].join(', ');
  return `${paint('dim', timeOf(new Date(String(time))))} ${word}: ${printable(text)}`;
}

function wordsOf(value: unknown): string {
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function timeOf(date: Date): string {
  return date.toTimeString().slice(0, 8);
}
