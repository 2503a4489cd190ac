/** The near cache of a real Prosody while what it depends on fails. */
import { describe } from 'vitest';
import { serveNothingUnproved } from './behaviours/near-cache-faults.ts';
import { prosodyKind } from './prosody-kind.ts';

describe('the near cache of Prosody', () => serveNothingUnproved(prosodyKind));
