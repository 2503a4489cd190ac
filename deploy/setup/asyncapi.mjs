// `npm run docs:asyncapi`: writes docs/asyncapi.yaml, the wire protocol as AsyncAPI, from the schemas that workers use.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuild } from './build.mjs';
import { ensureNpmPackages } from './npm.mjs';
import { root, runSetup, step } from './steps.mjs';

await runSetup(async () => {
  await ensureNpmPackages();
  await ensureBuild();
  await step('docs/asyncapi.yaml', async () => {
    const { asyncApiYaml } = await import(pathToFileURL(join(root, 'dist/asyncapi/document.js')).href);
    writeFileSync(join(root, 'docs/asyncapi.yaml'), asyncApiYaml());
  });
});
