/** A refresh of many users as requests of a size that workers answer soon, a few of them under way at once. */
import { z } from 'zod';
import type { Asker } from './asking.ts';
import type { Trouble } from './connect-once.ts';

const batchSize = 100;
/** Workers share them; each bounds for itself what its sources are asked. */
const outstanding = 4;

/** Nobody answers these, so the other requests would get the same. */
const hopeless: readonly Trouble['trouble'][] = ['unreachable', 'refused', 'no-workers', 'bad-reply'];

const reply = z.object({
  updated: z.number(),
  errors: z.number(),
  failed: z.record(z.string(), z.string()),
});

export interface RefreshedUsers {
  updated: number;
  /** Why not, by bare JID. */
  readonly failed: Record<string, string>;
  /** What became of the first request that was not answered. */
  trouble?: Trouble;
}

/**
 * @param budgetMs how long each request may take
 * @param progress called with what became of each batch
 */
export async function refreshInBatches(
  asker: Asker,
  users: readonly string[],
  budgetMs: number,
  progress: (done: number, failed: number) => void,
): Promise<RefreshedUsers> {
  const sum: RefreshedUsers = { updated: 0, failed: {} };
  const batches = Array.from({ length: Math.ceil(users.length / batchSize) }, (_, index) =>
    users.slice(index * batchSize, (index + 1) * batchSize),
  ).values();
  const work = async () => {
    for (const batch of batches) {
      const found = isHopeless(sum) ? sum.trouble : await ask(asker, batch, budgetMs);
      if (found !== undefined && 'trouble' in found) {
        sum.trouble ??= found;
        for (const user of batch) sum.failed[user] = found.trouble === 'failure' ? found.failure : found.trouble;
        progress(batch.length, batch.length);
      } else if (found !== undefined) {
        sum.updated += found.updated;
        Object.assign(sum.failed, found.failed);
        progress(batch.length, found.errors);
      }
    }
  };
  await Promise.all(Array.from({ length: outstanding }, work));
  return sum;
}

function isHopeless({ trouble, updated }: RefreshedUsers): boolean {
  return trouble !== undefined && updated === 0 && hopeless.includes(trouble.trouble);
}

async function ask(
  asker: Asker,
  users: readonly string[],
  budgetMs: number,
): Promise<z.output<typeof reply> | Trouble> {
  const outcome = await asker.ask('roster-refresh', { users, reason: 'admin' }, budgetMs);
  if ('trouble' in outcome) return outcome;
  const parsed = reply.safeParse(outcome.reply);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return { trouble: 'bad-reply', detail: `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` };
}
