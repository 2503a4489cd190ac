import { describe, expect, it } from 'vitest';
import { RefreshProgress } from '../../src/commands/refresh-progress.ts';
import { ManualClock } from '../clock.ts';

function setUp(isTTY: boolean, total = 1_000) {
  const clock = new ManualClock();
  const written: string[] = [];
  const stream = { isTTY, write: (text: string) => written.push(text) };
  return { clock, written, progress: new RefreshProgress(stream, total, () => clock.now()) };
}

describe('the progress of a refresh', () => {
  it('is one line on a terminal, which changes and is left at the end', () => {
    const { clock, written, progress } = setUp(true);
    clock.advance(500);
    progress.add(400, 0);
    clock.advance(500);
    progress.add(600, 3);
    progress.end();
    expect(written).toEqual([
      '\r400 of 1,000 users, 800 a second\u001b[K',
      '\r1,000 of 1,000 users, 3 failed, 1,000 a second\u001b[K',
      '\n',
    ]);
  });

  it('is a line now and then elsewhere, the last one always', () => {
    const { clock, written, progress } = setUp(false);
    clock.advance(100);
    progress.add(100, 0);
    for (const _ of [1, 2, 3]) {
      clock.advance(600);
      progress.add(100, 0);
    }
    clock.advance(200);
    progress.add(100, 0);
    progress.add(400, 0);
    progress.add(100, 1);
    progress.end();
    expect(written).toEqual([
      '100 of 1,000 users, 1,000 a second\n',
      '500 of 1,000 users, 238 a second\n',
      '1,000 of 1,000 users, 1 failed, 476 a second\n',
    ]);
  });
});
