/** Subscriptions at a real ejabberd. */
import { askAboutSubscriptions } from './behaviours/subscriptions.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

askAboutSubscriptions(ejabberdKind);
