/** Groups that come from the application, at a real Prosody with privacy lists. */
import { groupContacts } from './behaviours/roster-groups.ts';
import { startProsody } from './prosody.ts';
import { prosodyRosters } from './roster-kind.ts';

groupContacts({
  ...prosodyRosters,
  start: (options) => startProsody({ ...options, modules: ['privacy_lists'] }),
});
