/** The manifests for Kubernetes, as far as they can be tried without a cluster: by schema, by type, and their configuration by Warder. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1';
import { Deployment } from 'kubernetes-models/apps/v1';
import { HorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { Service } from 'kubernetes-models/v1';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { loadConfig } from '../../src/config/load.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'deploy/kubernetes');

/** Of each kind the class that validates, and where its type is. */
const kinds = {
  Deployment: { model: Deployment, from: 'kubernetes-models/apps/v1' },
  Service: { model: Service, from: 'kubernetes-models/v1' },
  PodDisruptionBudget: { model: PodDisruptionBudget, from: 'kubernetes-models/policy/v1' },
  NetworkPolicy: { model: NetworkPolicy, from: 'kubernetes-models/networking.k8s.io/v1' },
  HorizontalPodAutoscaler: { model: HorizontalPodAutoscaler, from: 'kubernetes-models/autoscaling/v2' },
  ScaledObject: { model: ScaledObject, from: '@kubernetes-models/keda/keda.sh/v1alpha1' },
} as const;

const kindName = z.enum(Object.keys(kinds) as (keyof typeof kinds)[]);
const kustomization = z.strictObject({
  apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
  kind: z.literal('Kustomization'),
  namespace: z.string(),
  labels: z.array(z.strictObject({ pairs: z.record(z.string(), z.string()) })).optional(),
  resources: z.array(z.string()),
  configMapGenerator: z.array(z.strictObject({ name: z.string(), files: z.array(z.string()) })).optional(),
});

const kustomizations = ['base', 'hpa', 'keda'].map((name) => ({
  name,
  ...kustomization.parse(parse(readFileSync(join(folder, name, 'kustomization.yaml'), 'utf8'))),
}));
const manifests = kustomizations.flatMap(({ name, resources }) =>
  resources
    .filter((resource) => resource.endsWith('.yaml'))
    .map((resource): [string, Record<string, unknown>] => [
      `${name}/${resource}`,
      z.record(z.string(), z.unknown()).parse(parse(readFileSync(join(folder, name, resource), 'utf8'))),
    ]),
);

describe('the manifests for Kubernetes', () => {
  it.each(kustomizations)('$name names every file that is in it, and no other', ({ name, resources, ...rest }) => {
    const configuration = (rest.configMapGenerator ?? []).flatMap((one) => one.files);
    const named = [...resources.filter((one) => one !== '../base'), ...configuration, 'kustomization.yaml'];
    expect(readdirSync(join(folder, name)).toSorted()).toEqual(named.toSorted());
  });

  it.each(manifests)('%s is what its schema says', (_path, manifest) => {
    const { model } = kinds[kindName.parse(manifest['kind'])];
    new model(manifest as never).validate();
    const broken = new model({ ...manifest, spec: 'nothing' } as never);
    expect(() => broken.validate()).toThrow('spec');
  });

  it('has no field that its kind does not know', () => {
    const typos = typeErrors(manifests);
    expect(typos).toBe('');
    const [[path, deployment] = ['', {}]] = manifests;
    expect(typeErrors([[path, { ...deployment, spec: { replica: 2 } }]])).toContain('replica');
  });

  it('selects the pods that it makes', () => {
    const labels = Object.entries(kustomizations[0]?.labels?.[0]?.pairs ?? {});
    expect(labels.length).toBeGreaterThan(0);
    const text = Object.fromEntries(manifests);
    for (const [key, value] of labels) {
      expect(text['base/deployment.yaml']).toMatchObject({
        spec: { selector: { matchLabels: { [key]: value } }, template: { metadata: { labels: { [key]: value } } } },
      });
      expect(text['base/service.yaml']).toMatchObject({ spec: { selector: { [key]: value } } });
      expect(text['base/disruption-budget.yaml']).toMatchObject({
        spec: { selector: { matchLabels: { [key]: value } } },
      });
    }
  });

  it('scales what it deploys, and nothing else', () => {
    const targets = manifests.flatMap(
      ([, { spec }]) =>
        z.object({ scaleTargetRef: z.object({ name: z.string() }) }).safeParse(spec).data?.scaleTargetRef.name ?? [],
    );
    expect(targets).toEqual(['warder', 'warder']);
  });

  it('is configured with what Warder takes, beside the variables of a pod', () => {
    const config = loadConfig(join(folder, 'base/warder.yaml'), {
      WARDER_NATS_URL: 'nats://user:password@nats.nats:4222',
      WARDER_SERVICE_HOST: '10.0.0.1',
      WARDER_PORT_9464_TCP_ADDR: '10.0.0.1',
    });
    expect(config).toMatchObject({ http: { listen: '0.0.0.0:9464' }, nats: { url: ['nats://nats.nats:4222'] } });
  });
});

/** What the compiler says of manifests as literals of their kinds' types: it knows every field, and objects to others. */
function typeErrors(given: readonly (readonly [string, Record<string, unknown>])[]): string {
  const place = mkdtempSync(join(tmpdir(), 'warder-test-kubernetes-'));
  try {
    symlinkSync(join(root, 'node_modules'), join(place, 'node_modules'));
    const lines = given.map(([path, manifest], index) => {
      const kind = kindName.parse(manifest['kind']);
      return `import type { I${kind} as T${index} } from '${kinds[kind].from}';
// ${path}
export const m${index}: T${index} = ${JSON.stringify(manifest)};`;
    });
    const file = join(place, 'manifests.ts');
    writeFileSync(file, lines.join('\n'));
    const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', ''];
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    return spawnSync(process.execPath, [compiler, ...options, file], { cwd: place, encoding: 'utf8' }).stdout;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}
