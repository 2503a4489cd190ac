/** Two users of two nodes of Prosody. */
import { relateAcrossNodes } from './behaviours/roster-nodes.ts';
import { prosodyRosters } from './roster-kind.ts';

relateAcrossNodes(prosodyRosters);
