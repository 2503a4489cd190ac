/** What the hook of a real Prosody reports to real workers. */
import { reportOnce } from './behaviours/hook-stats.ts';
import { prosodyKind } from './prosody-kind.ts';

reportOnce(prosodyKind);
