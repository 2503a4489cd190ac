/** Why there is no roster of a user, in words for people. */
import { printable } from './terminal.ts';

/** @param text what stands in `failed` of the reply; undefined when it does not name the user */
export function rosterFailureWords(text: string | undefined): string {
  switch (text) {
    case undefined:
      return 'the workers said nothing about it';
    case 'source-unavailable':
      return 'its source did not answer; the log of the workers says why';
    case 'too-large':
      return 'it is larger than what the broker carries (max_payload)';
    case 'expired':
      return 'the time was over before its turn; give a longer --timeout';
    case 'internal':
      return 'a mistake in Warder; the log of the workers has it';
    default:
      return printable(text);
  }
}
