/** That a real ejabberd does with what the README of the hook gives what is said there. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { startEjabberd } from './ejabberd.ts';
import type { Ejabberd, EjabberdOptions } from './ejabberd.ts';
import { buildHook } from './ejabberd-hook.ts';
import { freePort } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startResponder } from './responder.ts';
import type { Responder } from './responder.ts';
import { enterRoom, hasBody, message } from './xmpp-client.ts';

type Options = Readonly<Record<string, unknown>>;

interface Example {
  readonly modules?: { readonly mod_warder: Options };
  readonly append_host_config?: Readonly<Record<string, { readonly modules: { readonly mod_warder: Options } }>>;
  readonly listen?: readonly Options[];
}

const readme = readFileSync(join(import.meta.dirname, '../../deploy/ejabberd/mod_warder/README.md'), 'utf8');

/** The parts of an `ejabberd.yml`, in order. */
const examples = [...readme.matchAll(/^( *)```yaml\n([^]*?)^\1```$/gm)].map(
  ([, indent = '', yaml = '']) => parse(yaml.replaceAll(new RegExp(`^${indent}`, 'gm'), '')) as Example,
);
const [loading, ofOneHost, defaults, listening] = examples;

/** The words in the first column of the table whose header begins so. */
function wordsOf(header: string): string[] {
  const table = readme.slice(readme.search(new RegExp(`^\\| ${header} `, 'm'))).split('\n\n')[0] ?? '';
  const cells = table.split('\n').map((row) => row.split('|')[1] ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([\w-]+)`/g)].map(([, word = '']) => word));
}

let broker: NatsServer;
let responder: Responder;
let codePaths: string[];

beforeAll(async () => {
  codePaths = [await buildHook()];
  broker = await startNatsServer();
  responder = await startResponder(broker.url);
});

afterAll(async () => {
  await responder?.stop();
  await broker?.stop();
});

const start = (options: Partial<EjabberdOptions>): Promise<Ejabberd> =>
  startEjabberd({ natsUrl: broker.url, codePaths, warder: false, ...options });

/** With the broker of this test. */
const here = (options: Options | undefined): Options => ({ ...options, nats_url: broker.url });

const settingsOf = (ejabberd: Ejabberd, host: string): Promise<unknown> =>
  ejabberd.evaluate(`maps:get(settings, element(2, mod_warder_hosts:find(<<"${host}">>)))`);

it('has four examples', () => expect(examples).toHaveLength(4));

describe('the module and the listener, as they stand there', () => {
  let ejabberd: Ejabberd;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    ejabberd = await start({
      modules: { mod_warder: here(loading?.modules?.mod_warder) },
      listeners: (listening?.listen ?? []).map((one) => ({ ...one, port })),
    });
    await ejabberd.waitForOutput(/Connected to NATS at/);
  });

  afterAll(() => ejabberd?.stop());

  it('ask about messages and joins, and about nothing else', async () => {
    const [alice, bob] = await Promise.all([ejabberd.connect('alice'), ejabberd.connect('bob')]);
    await alice.send(message(bob.jid, 'hello'));
    await bob.take('the message', hasBody('hello'));
    await enterRoom(alice, `hall@${ejabberd.rooms}`, 'alice');

    expect(responder.asked.map(({ operation }) => operation)).toEqual(['stanza-check', 'join-check']);
  });

  it('take a refresh, and turn away what is no flush', async () => {
    const at = (path: string, body: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body });

    expect(await (await at('/roster_admin/refresh', '["alice"]')).json()).toMatchObject({ status: 'ok', updated: 1 });
    expect((await at('/mod_msg_filter/', '<flush/>')).status).toBe(400);
  });

  it('say in ejabberdctl what the table of words says', async () => {
    const said = (await ejabberd.evaluate(
      '[[S, N] || {_, S, C, N, _} <- mod_warder_stats:command(), C =:= <<"now">>]',
    )) as [string, string][];
    const nearCache = said.filter(([subject]) => subject === 'near-cache').map(([, word]) => word);

    expect(wordsOf('word').toSorted()).toEqual(nearCache.toSorted());
  });
});

it('can be loaded at one host alone, with the options of the example', async () => {
  const [[host, own] = ['', undefined]] = Object.entries(ofOneHost?.append_host_config ?? {});
  const ejabberd = await start({
    furtherHosts: [],
    options: {
      hosts: ['localhost', host],
      append_host_config: { [host]: { modules: { mod_warder: here(own?.modules.mod_warder) } } },
    },
  });
  try {
    expect(await ejabberd.evaluate('mod_warder_hosts:list()')).toEqual([host]);
    expect(await settingsOf(ejabberd, host)).toMatchObject({ roster: true, push_token: '7eiFtn5A8qTn' });
  } finally {
    await ejabberd.stop();
  }
});

describe('the options', () => {
  let ejabberd: Ejabberd;

  beforeAll(async () => {
    const writtenOut = { mod_warder: here(defaults?.modules?.mod_warder) };
    ejabberd = await start({
      options: {
        hosts: ['localhost', 'plain.test'],
        append_host_config: {
          localhost: { modules: writtenOut },
          'plain.test': { modules: { mod_warder: here({}) } },
        },
      },
    });
  });

  afterAll(() => ejabberd?.stop());

  it('are, where they are written out, the defaults', async () => {
    expect(await settingsOf(ejabberd, 'localhost')).toEqual(await settingsOf(ejabberd, 'plain.test'));
  });

  it('are all in the table, and no others', async () => {
    const names = await ejabberd.evaluate('[Name || {Name, _} <- mod_warder_options:defaults()]');

    expect(wordsOf('option').toSorted()).toEqual((names as string[]).toSorted());
  });
});
