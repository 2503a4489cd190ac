/** What arrives at a real ejabberd from another one. */
import { checkAcrossServers } from './behaviours/s2s.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

checkAcrossServers(ejabberdKind);
