/** Push paths on the HTTP port of a real ejabberd, and whose token counts where the request names none of its hosts. */
import { expect, it } from 'vitest';
import { servePushPaths } from './behaviours/push-paths.ts';
import { ejabberdKind } from './ejabberd-kind.ts';

const port = servePushPaths(ejabberdKind);

it.each([
  ['alice@guarded.test', 'Bearer s3cret', 200],
  ['alice@guarded.test', 'Bearer wrong', 401],
  ['alice@localhost', 'Bearer s3cret', 403],
])('lets who flushes %s with %s do so by the token of that host', async (jid, authorization, status) => {
  const headers = { authorization, via: 'proxy' };
  const url = `http://127.0.0.1:${port()}/mod_msg_filter/`;
  const sent = await fetch(url, { method: 'POST', body: `<flush jid="${jid}"/>`, headers });
  expect(sent.status).toBe(status);
});

it.each(['/mod_msg_filter/other', '/roster_admin/refresh/alice'])('serves nothing at %s', async (path) => {
  expect((await fetch(`http://127.0.0.1:${port()}${path}`, { method: 'POST', body: '[]' })).status).toBe(404);
});
