/** What a real Prosody does when there is no answer, or none that is one; and how its shell shows it. */
import { describe, expect, it } from 'vitest';
import { failSafely } from './behaviours/failures.ts';
import { prosodyKind } from './prosody-kind.ts';

const scene = failSafely(prosodyKind);

describe('the shell', () => {
  it('shows how often each kind of failure and each fallback happened', async () => {
    const shown = await scene().server.shell('warder:stats()');

    expect(shown).toMatch(
      /deny\.test\n[^]*stanza-check: answers: .*failures: .*source-unavailable \d+.*fallbacks: .*deny \d+/,
    );
    expect(shown).toMatch(/failures: .*bad-reply \d+/);
    expect(shown).toMatch(/failures: .*no-responders \d+/);
    expect(shown).toMatch(/asked twice for silence: [1-9]\d*, answered the second time: 0/);
  });
});
