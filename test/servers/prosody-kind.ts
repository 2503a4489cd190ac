/** Prosody, as the behaviours that all servers share need to know it. */
import { startProsody } from './prosody.ts';
import type { ServerKind } from './server-kind.ts';

export const prosodyKind: ServerKind = {
  name: 'Prosody',
  // A room that its maker has to unlock first is Prosody's own affair.
  start: (options) => startProsody({ ...options, roomOptions: 'muc_room_locking = false' }),
  receivesWhileAsking: true,
  crashed: /[Tt]raceback|lost in line/,
  refusal: (error) => ({ name: 'StanzaError', ...error }),
  refusesEarly: (element, id) => element.attrs['id'] === id && element.attrs['type'] === 'error',
  refusesUnbound: true,
  malformedRecipient: 'jid-malformed',
};
