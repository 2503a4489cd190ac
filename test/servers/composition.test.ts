/** Everything at once, as deploy/compose puts it together, each part by the program that it is for, on loopback in place of containers. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { builtMain, root } from './built.ts';
import { freePorts } from './free-port.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import { connectClient, enterRoom, errorOf, hasBody, message } from './xmpp-client.ts';
import type { TestClient } from './xmpp-client.ts';

const run = promisify(execFile);
const compose = join(root, 'deploy/compose');
const readText = (path: string): string => readFileSync(join(compose, path), 'utf8');

describe('the composition', () => {
  it('is one that Compose takes, and has every file that it mounts', async () => {
    const { stdout } = await run('docker-compose', ['-f', join(compose, 'compose.yaml'), 'config']);
    const { services } = z
      .object({ services: z.record(z.string(), z.object({ volumes: z.array(z.string()).optional() })) })
      .parse(parse(stdout));
    expect(Object.keys(services).toSorted()).toEqual(['grafana', 'nats', 'prometheus', 'prosody', 'worker']);
    const mounted = Object.values(services)
      .flatMap(({ volumes = [] }) => volumes)
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((path) => path.startsWith('/'));
    expect(mounted.length).toBeGreaterThan(6);
    expect(mounted.filter((path) => !existsSync(path))).toEqual([]);
  });

  it('opens no port to other machines', () => {
    const { services } = z
      .object({ services: z.record(z.string(), z.object({ ports: z.array(z.string()).optional() })) })
      .parse(parse(readText('compose.yaml')));
    const ports = Object.values(services).flatMap(({ ports: own = [] }) => own);
    expect(ports.length).toBeGreaterThan(2);
    expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  it('has a configuration that Prometheus takes, with rules that are where it looks', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-prometheus-'));
    try {
      const file = join(folder, 'prometheus.yml');
      const rules = resolve(compose, '../prometheus');
      writeFileSync(file, readText('prometheus.yml').replace('/etc/prometheus/rules', rules));
      const { stdout } = await run('promtool', ['check', 'config', file]);
      expect(stdout).toMatch(/SUCCESS: \d+ rules found/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('its broker, workers and Prosody', () => {
  const stops: (() => Promise<unknown>)[] = [];
  let broker: NatsServer;
  let port: number;

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'warder-test-composition-'));
    stops.push(async () => rmSync(folder, { recursive: true, force: true }));
    broker = await startNatsServer({
      jetstream: true,
      extraConfig: readText('nats-server.conf').replace(/^jetstream.*$/m, ''),
    });
    stops.push(() => broker.stop());
    writeFileSync(join(folder, 'warder.yaml'), readText('warder.yaml'));
    writeFileSync(join(folder, 'policy.yaml'), readText('../dev/policy.yaml'));
    const main = await builtMain();
    for (let count = 0; count < 2; count += 1) {
      const worker = await startProcess({
        command: process.execPath,
        args: [main, 'worker'],
        env: {
          WARDER_CONFIG: join(folder, 'warder.yaml'),
          WARDER_NATS_URL: broker.url,
          WARDER_HTTP_LISTEN: '127.0.0.1:0',
        },
        ready: /"worker ready"/,
        stopTimeoutMs: 15_000,
      });
      stops.push(() => worker.stop());
    }
    port = await startProsodyOfTheComposition(folder);
  });

  afterAll(async () => {
    for (const stop of stops.toReversed()) await stop();
  });

  /** By its own script, which makes the accounts. What differs is where things are, and that it may be root. */
  async function startProsodyOfTheComposition(folder: string): Promise<number> {
    const [free] = (await freePorts(1)) as [number];
    mkdirSync(join(folder, 'data'));
    const config = readText('prosody/prosody.cfg.lua')
      .replace('/usr/local/lib/prosody/modules', join(root, 'deploy/prosody'))
      .replace('/tmp/prosody.pid', join(folder, 'prosody.pid'))
      .replace('/var/lib/prosody', join(folder, 'data'))
      .replace('{ 5222 }', `{ ${free} }`)
      .replace('{ "*" }', '{ "127.0.0.1" }')
      .replace('nats://nats:4222', broker.url);
    const file = join(folder, 'prosody.cfg.lua');
    writeFileSync(file, `run_as_root = true\n${config}`);
    const prosody = await startProcess({
      command: 'sh',
      args: [join(compose, 'prosody/start.sh')],
      env: { PROSODY_CONFIG: file },
      ready: /Connected to NATS/,
    });
    stops.push(() => prosody.stop());
    return free;
  }

  async function connect(name: string): Promise<TestClient> {
    const client = await connectClient({ port, domain: 'localhost', username: name, password: name });
    stops.push(() => client.stop());
    return client;
  }

  it('let alice write to bob, and mallory to nobody', async () => {
    const [alice, bob, mallory] = await Promise.all([connect('alice'), connect('bob'), connect('mallory')]);
    await alice.send(message(bob.bare, 'hello'));
    await bob.take('the message', hasBody('hello'));
    const refused = message(bob.bare, 'buy this');
    await mallory.send(refused);
    expect(errorOf(await mallory.reply(refused.attrs['id'] ?? ''))).toMatchObject({ text: 'You are blocked.' });
    await enterRoom(alice, 'staff@rooms.localhost', 'alice');
  });
});
