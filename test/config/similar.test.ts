import { describe, expect, it } from 'vitest';
import { similarTo } from '../../src/config/similar.ts';

const words = ['ttl_ms', 'fallback', 'sources', 'stanza-check', 'join-check'];

describe('similarTo', () => {
  it.each([
    { word: 'source', want: 'sources' },
    { word: 'ttl', want: 'ttl_ms' },
    { word: 'ttlMs', want: 'ttl_ms' },
    { word: 'Fallback', want: 'fallback' },
    { word: 'falback', want: 'fallback' },
    { word: 'fallbcak', want: 'fallback' },
    { word: 'stanza_check', want: 'stanza-check' },
    { word: 'stanza', want: 'stanza-check' },
    { word: 'timeout', want: undefined },
    { word: '', want: undefined },
    { word: 'x', want: undefined },
  ])('takes $word for $want', ({ word, want }) => {
    expect(similarTo(word, words)).toBe(want);
  });
});
