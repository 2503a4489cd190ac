/** The image of a worker, built and run as its Dockerfile says, but for the engine: as nobody, with what the image has and no more. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { buildImage } from '../deploy/image.ts';
import type { Image } from '../deploy/image.ts';
import { root } from './built.ts';
import { startNatsServer } from './nats-server.ts';
import type { NatsServer } from './nats-server.ts';
import { startProcess } from './process.ts';
import type { RunningProcess } from './process.ts';

let folder: string;
let image: Image;
let broker: NatsServer;
let worker: RunningProcess | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warder-test-image-'));
  chmodSync(folder, 0o755);
  // Only what the build is given: a file that is missing there is missing here.
  image = await buildImage(join(root, 'deploy/docker/Dockerfile'), root, folder);
  broker = await startNatsServer({ jetstream: true });
}, 300_000);

afterAll(async () => {
  await worker?.stop();
  await broker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('the image of a worker', () => {
  it('is given everything that it copies, and nothing else of the project', () => {
    const dockerfile = readFileSync(join(root, 'deploy/docker/Dockerfile'), 'utf8');
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, words = '']) =>
      words.split(' '),
    );
    const ignored = readFileSync(join(root, 'deploy/docker/Dockerfile.dockerignore'), 'utf8');
    const given = [...ignored.matchAll(/^!(.*)$/gm)].map(([, path]) => path);
    expect(ignored).toMatch(/^\*$/m);
    expect(given.toSorted()).toEqual(copied.toSorted());
  });

  it('has nothing in it that is only for development', () => {
    const lock = z
      .object({ packages: z.record(z.string(), z.object({ dev: z.boolean().optional() })) })
      .parse(JSON.parse(readFileSync(join(image.folder, 'node_modules/.package-lock.json'), 'utf8')));
    expect(Object.keys(lock.packages)).toContain('node_modules/nats');
    expect(Object.entries(lock.packages).filter(([, one]) => one.dev === true)).toEqual([]);
  });

  it('runs as a user who is not root, and becomes ready with the configuration of the composition', async () => {
    expect(image.user).toBe('node');
    const place = join(folder, 'etc');
    mkdirSync(place);
    const { services } = z
      .object({ services: z.object({ worker: z.object({ volumes: z.array(z.string()) }) }) })
      .parse(parse(readFileSync(join(root, 'deploy/compose/compose.yaml'), 'utf8')));
    for (const volume of services.worker.volumes) {
      const [from = '', to = ''] = volume.split(':');
      writeFileSync(join(place, to.replace('/etc/warder/', '')), readFileSync(join(root, 'deploy/compose', from)));
    }
    const [command = '', ...args] = image.command;
    worker = await startProcess({
      command: 'setpriv',
      args: ['--reuid=65534', '--regid=65534', '--clear-groups', command, ...args],
      cwd: image.folder,
      env: {
        ...image.env,
        WARDER_CONFIG: join(place, 'warder.yaml'),
        WARDER_NATS_URL: broker.url,
        WARDER_HTTP_LISTEN: '127.0.0.1:0',
      },
      ready: /"worker ready"/,
      stopTimeoutMs: 15_000,
    });
    const [, url = ''] = /"http":"([^"]+)"/.exec(worker.output()) ?? [];
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ ready: true });
    expect(await worker.stop()).toEqual({ code: 0, signal: null });
  });
});
