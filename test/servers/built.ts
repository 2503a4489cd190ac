/** The built command line: `dist/main.js` of what is in `src` now. */
import { fileURLToPath } from 'node:url';
import { ensureBuild } from '../../deploy/setup/build.mjs';

/** The project's folder, where `npx warder` is this very build. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Compiles unless that is done already; resolves to the path of the program. */
export async function builtMain(): Promise<string> {
  await ensureBuild();
  return fileURLToPath(new URL('../../dist/main.js', import.meta.url));
}
