import { expect, it } from 'vitest';
import { startPostgresServer } from './postgres-server.ts';

it('a database keeps its port and its data through shutdown, crash and pause', async () => {
  const postgres = await startPostgresServer();
  await postgres.psql('CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)');
  await postgres.restart();
  expect(await postgres.psql('SELECT n FROM kept')).toBe('1');
  await postgres.kill();
  await postgres.restart();
  expect(await postgres.psql('SELECT n FROM kept')).toBe('1');

  await postgres.pause();
  let hasAnswered = false;
  const asked = postgres.psql('SELECT n FROM kept').finally(() => {
    hasAnswered = true;
  });
  // Longer than it takes otherwise: it cannot answer, so this cannot fail by being too short.
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(hasAnswered).toBe(false);
  postgres.resume();
  expect(await asked).toBe('1');
  await postgres.stop();
  await expect(postgres.psql('SELECT 1')).rejects.toThrow('onnection refused');
});
