/**
 * Mistakes that the checker must find, each planted into a copy of what ships: into the worker, and into the near caches of
 * both hooks. Every one breaks a rule that was once broken by accident or would be natural to break.
 */
import { cpSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { FaultName } from './faults.ts';
import type { Planted, RunSettings } from './run.ts';

export interface Plant {
  readonly name: string;
  readonly where: 'worker' | 'Lua hook' | 'Erlang hook';
  /** Below `homes`. */
  readonly file: string;
  /** Each stands in the file exactly once. */
  readonly edits: readonly (readonly [right: string, wrong: string])[];
  /** What brings it to light, and a seed with which that was seen. */
  readonly faults: readonly FaultName[];
  readonly seed: number;
  readonly pace: Pace;
}

export type Pace = Pick<
  RunSettings,
  'faultsAtOnce' | 'faultGapMs' | 'changesPerSecond' | 'asksPerSecond' | 'budgetMs' | 'sourceMs'
>;

/** Faults that overlap and many changes, for what needs several things to happen at once. */
const dense: Pace = {
  faultsAtOnce: 4,
  faultGapMs: 100,
  changesPerSecond: 40,
  asksPerSecond: 800,
  budgetMs: 250,
  sourceMs: 0,
};

/** Few changes, so that near caches are full, and answers that take nearly as long as the bound. */
const full: Pace = { ...dense, faultsAtOnce: 2, faultGapMs: 400, changesPerSecond: 10, budgetMs: 550, sourceMs: 450 };

/** One fault after the other, with time to recover in between. */
const slow: Pace = { ...dense, faultsAtOnce: 1, faultGapMs: 2_000, changesPerSecond: 20 };

export const plants: readonly Plant[] = [
  {
    name: 'a lookup joined below its asker’s min_seq',
    where: 'worker',
    file: 'cache/flights.js',
    edits: [['current.floor >= minSeq &&', '']],
    faults: ['invalidations lost', 'source slow'],
    seed: 11,
    pace: dense,
  },
  {
    name: 'seq taken at the answer and not when the lookup began',
    where: 'worker',
    file: 'cache/flights.js',
    edits: [['({ value, ...beginning })', '({ value, ...beginning, floor: order.floorFor(minSeq) })']],
    faults: ['source slow'],
    seed: 12,
    pace: dense,
  },
  {
    name: 'the first and not the last value of a forged header',
    where: 'worker',
    file: 'nats/invalidations.js',
    edits: [
      ["values('Nats-Stream').at(-1)", "values('Nats-Stream').at(0)"],
      ["values('Nats-Sequence').at(-1)", "values('Nats-Sequence').at(0)"],
    ],
    faults: ['headers forged', 'worker killed'],
    seed: 13,
    pace: slow,
  },
  {
    name: 'a gap ignored',
    where: 'Lua hook',
    file: 'change_order.lib.lua',
    edits: [['self.gaps = self.gaps + 1;\n\t\tstamp_all(self, sequence);', 'self.gaps = self.gaps + 1;']],
    faults: ['invalidations lost'],
    seed: 14,
    pace: dense,
  },
  {
    name: 'the proof dated by the answer and not by the question',
    where: 'Lua hook',
    file: 'near_cache.lib.lua',
    edits: [['self.order:replied(ticket.sent_at, seq, age_ms);', 'self.order:replied(self.clock(), seq, age_ms);']],
    faults: ['asker hears nothing'],
    seed: 15,
    pace: full,
  },
  {
    name: 'an insert without looking at what has changed since it was asked',
    where: 'Lua hook',
    file: 'near_cache.lib.lua',
    edits: [['floor_of(order, ticket, reply.seq), ticket.sent_at', 'order:position(), ticket.sent_at']],
    faults: ['source slow'],
    seed: 16,
    pace: dense,
  },
  {
    name: 'a gap ignored',
    where: 'Erlang hook',
    file: 'src/warder_order.erl',
    edits: [
      [
        'ok = atomics:add(Numbers, ?GAPS, 1),\n    stamp_all(Sequence, Order);',
        'ok = atomics:add(Numbers, ?GAPS, 1),\n    tick;',
      ],
    ],
    faults: ['invalidations lost'],
    seed: 21,
    pace: dense,
  },
  {
    name: 'the proof dated by the answer and not by the question',
    where: 'Erlang hook',
    file: 'src/warder_near_cache.erl',
    edits: [
      ['warder_order:replied(SentAt, Sequence', 'warder_order:replied(max(SentAt, (Cache#cache.clock)()), Sequence'],
    ],
    faults: ['asker hears nothing'],
    seed: 22,
    pace: full,
  },
  {
    name: 'a proof that does not wait for its number',
    where: 'Erlang hook',
    file: 'src/warder_order.erl',
    edits: [
      [
        'case Sequence =< seen(Order) of\n                true -> raise(Numbers, ?PROVED_AT, At);',
        'case Sequence > 0 of\n                true -> raise(Numbers, ?PROVED_AT, At);',
      ],
    ],
    faults: ['asker hears nothing'],
    seed: 23,
    pace: dense,
  },
  {
    name: 'an insert without looking at what has changed since it was asked',
    where: 'Erlang hook',
    file: 'src/warder_order.erl',
    edits: [['numbered when Sequence > 0 -> Sequence;', 'numbered when Sequence > 0 -> position(Order);']],
    faults: ['source slow'],
    seed: 24,
    pace: dense,
  },
  {
    name: 'a connection made anew taken for the one before',
    where: 'Erlang hook',
    file: 'src/warder_order.erl',
    edits: [
      ['    all = stamp_all(position(Order) + 1, Order),\n    ok.', '    ok.'],
      ['stamp_all(max(Before, Position + 1), Order);', '_ = {Before, Position, Order}, tick;'],
      [
        'apply_first(Sequence, _Before, _Position, Order) ->\n    stamp_all(Sequence, Order).',
        'apply_first(_Sequence, _Before, _Position, _Order) ->\n    tick.',
      ],
    ],
    faults: ['connection cut', 'connection held'],
    seed: 25,
    pace: dense,
  },
  {
    // The two lie microseconds apart; asleep in between, a short run meets it.
    name: 'what is seen told before it is applied',
    where: 'Erlang hook',
    file: 'src/warder_order.erl',
    edits: [
      [
        '    Before = atomics:get(Numbers, ?SEEN),\n',
        '    Before = atomics:get(Numbers, ?SEEN),\n    ok = atomics:put(Numbers, ?SEEN, max(Before, Sequence)),\n    timer:sleep(1),\n',
      ],
    ],
    faults: [],
    seed: 26,
    pace: { ...dense, asksPerSecond: 2_000 },
  },
];

const homes = { worker: 'dist', 'Lua hook': 'deploy/prosody/mod_warder', 'Erlang hook': 'deploy/ejabberd/mod_warder' };

/** What a run is given instead of what ships, and the folder to remove afterwards. @throws Error when the file is no longer what the plant was made for */
export function sow(plant: Plant, root: string): { readonly planted: Planted; readonly folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'warder-planted-'));
  const home = homes[plant.where];
  const copy = join(folder, basename(home));
  cpSync(join(root, home), copy, { recursive: true });
  const file = join(copy, plant.file);
  let text = readFileSync(file, 'utf8');
  for (const [right, wrong] of plant.edits) {
    if (text.split(right).length !== 2) throw new Error(`${plant.file} does not have exactly one ${right}`);
    text = text.replace(right, () => wrong);
  }
  writeFileSync(file, text);
  if (plant.where === 'Lua hook') return { planted: { luaHook: copy }, folder };
  if (plant.where === 'Erlang hook') return { planted: { erlangHook: copy }, folder };
  // The copy finds its packages and its manifest where the original does.
  for (const name of ['node_modules', 'package.json']) symlinkSync(join(root, name), join(folder, name));
  return { planted: { main: join(copy, 'main.js') }, folder };
}
