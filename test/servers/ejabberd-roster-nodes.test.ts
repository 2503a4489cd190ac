/** Two users of two nodes of ejabberd. */
import { relateAcrossNodes } from './behaviours/roster-nodes.ts';
import { ejabberdRosters } from './roster-kind.ts';

relateAcrossNodes(ejabberdRosters);
