/** The near cache of a real ejabberd while what it depends on fails. */
import { describe } from 'vitest';
import { serveNothingUnproved } from './behaviours/near-cache-faults.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

describe('the near cache of ejabberd', () => serveNothingUnproved(ejabberdKind));
