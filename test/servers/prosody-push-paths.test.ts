/** Push paths on the HTTP port of a real Prosody, and who may where the token makes no sense. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { servePushPaths } from './behaviours/push-paths.ts';
import { freePort } from './free-port.ts';
import { startScene } from './policy-scene.ts';
import type { Scene } from './policy-scene.ts';
import { prosodyKind } from './prosody-kind.ts';

servePushPaths(prosodyKind);

describe('with a token that makes no sense', () => {
  let scene: Scene;
  let port: number;

  beforeAll(async () => {
    port = await freePort();
    scene = await startScene({ httpPort: port, options: 'warder_push_token = ""' });
  });

  afterAll(() => scene?.stop());

  it('says so, and lets nobody push but this machine', async () => {
    const refresh = (headers: Readonly<Record<string, string>>): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}/roster_admin/refresh`, { method: 'POST', body: '[]', headers });

    await scene.prosody.waitForOutput(/warder\s+error\s+warder_push_token: it should be letters/);
    expect((await refresh({})).status).toBe(200);
    expect((await refresh({ via: 'proxy', authorization: 'Bearer ' })).status).toBe(403);
  });
});
