/** What `warder dev` says when it is ready: where everything is, and lines that work pasted as they stand. */
import { basename, dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/schema.ts';
import { version } from '../version.ts';
import type { DevFolder } from './dev-folder.ts';
import type { Paint } from './terminal.ts';

export interface Running {
  readonly config: Config;
  readonly folder: DevFolder;
  readonly isOwnBroker: boolean;
  readonly metrics: string;
}

export function devBanner({ config, folder, isOwnBroker, metrics }: Running, paint: Paint): string {
  const home = dirname(folder.path);
  const warder = commandFor(home);
  const broker = isOwnBroker ? 'started here, with JetStream' : 'from WARDER_NATS_URL';
  const near = (file: string) => relative(home, file);
  return `
${paint('bold', `Warder ${version} is running.`)} Ctrl-C stops it.

  policy   ${near(folder.policy)}   edit and save it: the next answer is another
  config   ${near(folder.config)}   which source answers what; read at start
  broker   ${config.nats.url.join(', ')}   ${broker}
  metrics  ${metrics}

Ask it something, in another terminal:

  cd ${quoted(home)}
  ${warder} check stanza --from alice@localhost --to bob@localhost
  ${warder} check stanza --from mallory@localhost --to bob@localhost
  ${warder} check join --user bob@localhost --room staff@rooms.localhost
  ${warder} check session --user alice@localhost
  ${warder} roster alice@localhost
  curl -s ${metrics} | grep '^warder_decisions.* [1-9]'

To put it into a Prosody or an ejabberd: README.md, "Into an existing …".
Every decision, as it is made:

`;
}

/** How this very program is called from a folder. */
function commandFor(folder: string): string {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  if (resolve(folder) === resolve(root)) return 'npx warder';
  const script = process.argv[1] ?? '';
  return basename(script) === 'warder' ? 'warder' : `node ${quoted(resolve(script))}`;
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
