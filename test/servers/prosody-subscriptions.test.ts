/** Subscriptions at a real Prosody. */
import { askAboutSubscriptions } from './behaviours/subscriptions.ts';
import { prosodyKind } from './prosody-kind.ts';

askAboutSubscriptions(prosodyKind);
