/** `warder check roster-set` and `roster-subscription`: questions that the application answers by doing what was asked. */
import { Command, Option } from 'commander';
import type { Jid } from '../wire/jid.ts';
import { rosterSubscriptionRequest } from '../wire/requests.ts';
import { askForDecision } from './ask-for-decision.ts';
import type { AskOptions } from './ask-for-decision.ts';
import type { Asked } from './explain-decision.ts';
import { bareJid, bareUserJid } from './option-values.ts';
import { UsageProblem } from './usage-problem.ts';

/** Said wherever the two are offered: the other checks change nothing. */
const tellsWords = `
This tells the application, as a client's own change would: what it agrees to
is stored, and every node fetches the roster anew. There is no asking just to see.
`;

interface SetOptions extends AskOptions {
  user: Jid;
  contact: Jid;
  name?: string;
  group?: string[];
  remove?: true;
}

export function rosterSetCommand(addCommonOptions: (command: Command) => Command): Command {
  const command = new Command('roster-set')
    .description('TELL the application to add, change or remove a contact')
    .requiredOption('--user <jid>', 'whose roster', bareUserJid)
    .requiredOption('--contact <jid>', 'the contact', bareJid)
    .option('--name <name>', 'what the user calls the contact')
    .option('--group <name>', 'a group that the contact is in; once for each', (name: string, before?: string[]) => [
      ...(before ?? []),
      name,
    ])
    .option('--remove', 'the contact is to go from the roster');
  return addCommonOptions(command)
    .addHelpText(
      'after',
      `${tellsWords}
Examples:
  warder check roster-set --user alice@localhost --contact bob@localhost --name Bob
  warder check roster-set --user alice@localhost --contact bob@localhost --remove
`,
    )
    .action(async (options: SetOptions) => {
      const { name, group, remove = false } = options;
      if (remove && (name !== undefined || group !== undefined)) {
        throw new UsageProblem('--remove takes the contact away; leave --name and --group out');
      }
      const user = options.user.bare;
      const contact = options.contact.bare;
      const change = remove ? `${contact} goes from the roster of ${user}` : `${contact} is in the roster of ${user}`;
      const refused = remove ? `${contact} stays in the roster of ${user}` : `the roster of ${user} stays as it is`;
      const asked: Asked = {
        who: user,
        whom: contact,
        means: {
          allow: change,
          deny: `${refused}, and he is told`,
          drop: `${refused}, and he is not told why`,
          modify: `${change}, in another form`,
          defer: `${refused} for now; he is told to try again later`,
        },
        alike: () => `each change of ${contact} by ${user}`,
      };
      const question = remove ? { user, contact, remove } : { user, contact, name, groups: group ?? [] };
      await askForDecision('roster-set', question, asked, options);
    });
}

const { direction: directions, action: actions } = rosterSubscriptionRequest.fields.shape;

interface SubscriptionOptions extends AskOptions {
  user: Jid;
  contact: Jid;
  direction: (typeof directions.options)[number];
  action: (typeof actions.options)[number];
  text?: string;
}

export function rosterSubscriptionCommand(addCommonOptions: (command: Command) => Command): Command {
  const command = new Command('roster-subscription')
    .description('TELL the application that a subscription is asked for, granted or ended')
    .requiredOption('--user <jid>', 'whose roster', bareUserJid)
    .requiredOption('--contact <jid>', 'the contact', bareJid)
    .addOption(
      new Option('--direction <direction>', 'out: the user sends it to the contact; in: the contact sends it')
        .choices(directions.options)
        .default('out'),
    )
    .addOption(new Option('--action <action>', 'what is sent').choices(actions.options).default('subscribe'))
    .option('--text <text>', 'what the request says, for people');
  return addCommonOptions(command)
    .addHelpText(
      'after',
      `${tellsWords}
Examples:
  warder check roster-subscription --user alice@localhost --contact bob@localhost
  warder check roster-subscription --user bob@localhost --contact alice@localhost \\
    --direction in --text 'It is me'
`,
    )
    .action(async (options: SubscriptionOptions) => {
      const { direction, action, text } = options;
      const user = options.user.bare;
      const contact = options.contact.bare;
      const [from, to] = direction === 'out' ? [user, contact] : [contact, user];
      const what = `"${action}" from ${from} to ${to}`;
      const asked: Asked = {
        who: user,
        whom: contact,
        means: {
          allow: `${what} goes on`,
          deny: `${what} is refused, and ${from} is told`,
          drop: `${what} vanishes, and nobody is told`,
          modify: `${what} goes on`,
          defer: `${what} is refused for now; ${from} is told to try again later`,
        },
        alike: () => `each ${what}`,
      };
      await askForDecision('roster-subscription', { user, contact, direction, action, text }, asked, options);
    });
}
