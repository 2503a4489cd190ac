/** `warder check`: asks the running workers what a hook would ask, and explains the answer. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { Jid } from '../wire/jid.ts';
import { askForDecision } from './ask-for-decision.ts';
import type { AskOptions } from './ask-for-decision.ts';
import { rosterSetCommand, rosterSubscriptionCommand } from './check-roster.ts';
import { connectedJid, hooks, joinEvents, kinds, stanzaQuestion } from './check-requests.ts';
import type { StanzaOptions } from './check-requests.ts';
import type { Asked } from './explain-decision.ts';
import { anyJid, duration, ipAddress, roomJid, userJid } from './option-values.ts';
import { addTargetOptions } from './target.ts';
import { printable } from './terminal.ts';
import { UsageProblem } from './usage-problem.ts';

const defaultTimeoutMs = 2_000;

export function checkCommand(): Command {
  const check = new Command('check')
    .description('ask the running workers whether something is allowed, and explain the answer')
    .addHelpText('after', exitCodeHelp);
  check.addCommand(stanzaCommand());
  check.addCommand(joinCommand());
  check.addCommand(sessionCommand());
  check.addCommand(rosterSetCommand(addCommonOptions));
  check.addCommand(rosterSubscriptionCommand(addCommonOptions));
  return check;
}

const exitCodeHelp = `
Exit codes: 0 allowed (or modified), 3 denied, dropped or deferred, 1 no answer,
2 the command line is wrong.

Examples:
  warder check stanza --from alice@localhost --to bob@localhost
  warder check join --user alice@localhost --room lobby@rooms.localhost
  warder check session --user alice@localhost --ip 192.0.2.7

roster-set and roster-subscription are no mere questions: the application is
told, and does what it agrees to.
`;

function addCommonOptions(command: Command): Command {
  command.option('--timeout <time>', 'how long to wait: milliseconds, or 250ms, 2s', duration, defaultTimeoutMs);
  return addTargetOptions(command).option('--json', 'print question and answer as JSON');
}

function stanzaCommand(): Command {
  const command = new Command('stanza')
    .description('may this stanza pass?')
    .option('--from <jid>', 'who sends it', anyJid)
    .option('--to <jid>', 'who it is for', anyJid)
    .addOption(new Option('--kind <kind>', 'what it is (default: message)').choices(kinds))
    .option('--type <type>', 'its type attribute (default: chat for a message, get for an iq)')
    .addOption(new Option('--hook <hook>', 'where the XMPP server asks').choices(hooks).default('send'))
    .option('--body <text>', 'the text of the message that is made for the question')
    .option('--stanza <file>', 'ask about the XML in this file instead; - is standard input');
  return addCommonOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  warder check stanza --from alice@localhost --to bob@localhost
  warder check stanza --from alice@localhost --to bob@localhost --body 'Buy now'
  warder check stanza --from a@localhost --to b@localhost --kind presence
  warder check stanza --stanza message.xml
`,
    )
    .action(async (options: StanzaOptions & AskOptions & { stanza?: string }) => {
      const question = stanzaQuestion(
        options,
        options.stanza === undefined ? undefined : readStanzaFile(options.stanza),
      );
      const { kind, type, from, to } = question;
      const ofType = type === '' ? '' : ` of type ${printable(type)}`;
      const stanza = `${kind === 'iq' ? 'an' : 'a'} ${kind}${ofType} from ${from} to ${to}`;
      const asked: Asked = {
        who: from,
        whom: to,
        means: {
          allow: `${stanza} passes`,
          deny: `${stanza} does not pass, and the sender is told`,
          drop: `${stanza} vanishes, and nobody is told`,
          modify: `${stanza} passes in another form`,
          defer: `${stanza} does not pass now; the sender is told to try again later`,
        },
        alike: (sender, recipient) =>
          `each ${kind}${ofType} from ${sender}${recipient === undefined ? '' : ` to ${recipient}`}`,
      };
      await askForDecision('stanza-check', question, asked, options);
    });
}

function joinCommand(): Command {
  const command = new Command('join')
    .description('may this user enter this room?')
    .requiredOption('--user <jid>', 'who wants to enter', userJid)
    .requiredOption('--room <jid>', 'the room', roomJid)
    .option('--nick <nick>', 'the nick in the room (default: what stands before the @ of the user)')
    .addOption(new Option('--event <event>', 'what he does').choices(joinEvents).default('join'))
    .option('--creating', 'the room does not exist yet and would be made by this');
  return addCommonOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  warder check join --user alice@localhost --room lobby@rooms.localhost
  warder check join --user alice@localhost --room new@rooms.localhost --creating
`,
    )
    .action(async (options: { user: Jid; room: Jid; nick?: string; event: string; creating?: true } & AskOptions) => {
      const { user, room, nick = options.user.node, event, creating = false } = options;
      const asked: Asked = {
        who: user.full,
        whom: room.bare,
        means: {
          allow: `${user.bare} may enter ${room.bare}`,
          deny: `${user.bare} may not enter ${room.bare}, and is told`,
          drop: `${user.bare} does not enter ${room.bare}, and nobody is told`,
          modify: `${user.bare} may enter ${room.bare}, in another form`,
          defer: `${user.bare} may not enter ${room.bare} now, and is told to try again later`,
        },
        alike: (entering, place) => `each ${event} of ${entering}${place === undefined ? '' : ` in ${place}`}`,
      };
      await askForDecision(
        'join-check',
        { user: connectedJid(user), room: room.bare, nick, event, creating },
        asked,
        options,
      );
    });
}

function sessionCommand(): Command {
  const command = new Command('session')
    .description('may this session open?')
    .requiredOption('--user <jid>', 'who logs in', userJid)
    .option('--ip <address>', 'from where', ipAddress)
    .option('--tls', 'the connection is encrypted')
    .option('--no-tls', 'the connection is not encrypted')
    .option('--mechanism <name>', 'how he authenticates: SCRAM-SHA-1, PLAIN, …');
  return addCommonOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  warder check session --user alice@localhost
  warder check session --user alice@localhost --ip 192.0.2.7 --no-tls
`,
    )
    .action(async (options: { user: Jid; ip?: string; tls?: boolean; mechanism?: string } & AskOptions) => {
      const { user, ip, tls, mechanism } = options;
      const asked: Asked = {
        who: user.full,
        means: {
          allow: `${user.bare} may log in`,
          deny: `${user.bare} may not log in, and is told`,
          drop: `${user.bare} may not log in, and is not told why`,
          modify: `${user.bare} may log in`,
          defer: `${user.bare} may not log in now, and is told to try again later`,
        },
        alike: (entering) => `each session of ${entering}`,
      };
      const known = Object.entries({ ip, tls, mechanism }).filter(([, value]) => value !== undefined);
      await askForDecision('session-check', { user: connectedJid(user), ...Object.fromEntries(known) }, asked, options);
    });
}

function readStanzaFile(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8').trim();
  } catch (error) {
    throw new UsageProblem(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
