import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseConfig } from '../../src/config/load.ts';
import { configSchema } from '../../src/config/schema.ts';

const file = fileURLToPath(new URL('../../deploy/warder.yaml', import.meta.url));
const sample = readFileSync(file, 'utf8');
const env = { NATS_PASSWORD: 'secret', POLICY_AUTHORIZATION: 'Bearer secret', PUSH_TOKEN: 'sixteen-characters' };

/** `#key: value` is an option, `# text` is prose. */
const uncommented = sample.replace(/^(\s*)#(?=[a-z])/gm, '$1');

/** The names of all options, however deep. */
function optionNames(): Set<string> {
  const names = new Set<string>();
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('properties' in node && typeof node.properties === 'object' && node.properties !== null) {
      for (const name of Object.keys(node.properties)) names.add(name);
    }
    for (const inner of Object.values(node)) walk(inner);
  };
  // What is transformed shows on one side only.
  walk(z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }));
  walk(z.toJSONSchema(configSchema, { io: 'output', unrepresentable: 'any' }));
  return names;
}

describe('the sample configuration', () => {
  it('is right as it stands', () => {
    expect(Object.keys(parseConfig(sample, file, {}).sources)).toHaveLength(6);
  });

  it('is right with everything in it uncommented', () => {
    const config = parseConfig(uncommented, file, env);
    expect(config.nats).toMatchObject({ user: 'warder', password: 'secret' });
    expect(config.nats.tls?.ca_file).toBe(fileURLToPath(new URL('../../deploy/nats-ca.pem', import.meta.url)));
  });

  it('names the defaults, so that uncommenting changes nothing', () => {
    const asItIs = parseConfig(sample, file, {});
    const whole = parseConfig(uncommented, file, env);
    for (const section of ['log', 'limits', 'cache', 'freshness', 'operations'] as const) {
      expect(whole[section]).toEqual(asItIs[section]);
    }
    for (const [name, source] of Object.entries(asItIs.sources))
      expect(whole.sources[name]).toMatchObject(without(source));
  });

  it.each([...optionNames()])('names %s', (name) => {
    expect(sample).toMatch(new RegExp(`(^|[\\s#{])${name}:`, 'm'));
  });
});

/** The options without a default are examples in the sample. */
function without(source: object): object {
  return Object.fromEntries(Object.entries(source).filter(([key]) => key !== 'headers' && key !== 'denied'));
}
