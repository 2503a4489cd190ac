/** The sources `allow` and `deny`: one answer to every question, with nobody behind it to be asked. */
import { constantNames } from '../config/sources.ts';
import type { ConstantName } from '../config/sources.ts';
import type { Answer, Question, Source } from './source.ts';

/** As far as a decision carries that depends on nothing but the domain: never into the questions of another one. */
const scopes = { 'stanza-check': 'pair', 'join-check': 'room', 'session-check': 'sender' } as const satisfies Record<
  Question['operation'],
  Answer['scope']
>;

/** One of each, by its name. */
export function createConstantSources(): Map<string, Source> {
  return new Map(constantNames.map((name) => [name, createConstantSource(name)]));
}

function createConstantSource(verdict: ConstantName): Source {
  const decision = { verdict, reason: `the source ${verdict}` };
  return {
    name: verdict,
    type: 'constant',
    isConstant: true,
    decide: async ({ operation }) => ({ decision, scope: scopes[operation] }),
    rosterChange: async () => decision,
    stop: async () => undefined,
  };
}
