/** Who there is to ask about; the names are those that the askers use. */
import type { Change } from '../../src/changes.ts';
import type { Random } from './random.ts';

export const population = { users: 24, domains: 3, rooms: 6 } as const;

export function userName(index: number): string {
  return `u${index}@${userDomain(index)}`;
}

export function userDomain(index: number): string {
  return `d${index % population.domains}.test`;
}

export function roomName(index: number): string {
  return `r${index}@${roomDomain(index)}`;
}

export function roomDomain(index: number): string {
  return `rooms${index % population.domains}.test`;
}

/** Mostly people, sometimes rooms, seldom what ends a lot: near caches must have time to be hit. */
export function randomChange(random: Random): Change {
  const chance = random.next();
  if (chance < 0.8) return { user: userName(random.below(population.users)) };
  if (chance < 0.9) return { room: roomName(random.below(population.rooms)) };
  if (chance < 0.96) {
    const index = random.below(population.domains);
    return { domain: random.next() < 0.5 ? userDomain(index) : roomDomain(index) };
  }
  if (chance < 0.985) return { operation: random.next() < 0.5 ? 'stanza-check' : 'join-check' };
  return { all: true };
}

/** The scopes whose invalidation ends the decision of a question, as `scopeName` writes them. */
export function scopesOf(question: string): string[] {
  const match = /^([sj])(\d+)\.(\d+)$/.exec(question);
  if (match === null) throw new Error(`no question: ${question}`);
  const [first, second] = [Number(match[2]), Number(match[3])];
  if (match[1] === 's') {
    return [
      'all',
      'operation stanza-check',
      `jid ${userName(first)}`,
      `jid ${userName(second)}`,
      `domain ${userDomain(first)}`,
      `domain ${userDomain(second)}`,
    ];
  }
  return [
    'all',
    'operation join-check',
    `jid ${userName(first)}`,
    `jid ${roomName(second)}`,
    `domain ${userDomain(first)}`,
    `domain ${roomDomain(second)}`,
  ];
}

export function scopeName(change: Change): string {
  if ('all' in change) return 'all';
  if ('operation' in change) return `operation ${change.operation}`;
  if ('domain' in change) return `domain ${change.domain}`;
  return `jid ${'user' in change ? change.user : change.room}`;
}
