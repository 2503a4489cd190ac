import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.ts';
import { sourceConfig } from '../../src/config/sources.ts';
import { httpOptions } from '../../src/config/http-source.ts';
import { readDecision } from '../../src/sources/http.ts';
import { readRoster } from '../../src/sources/roster-http.ts';
import { parsePolicy } from '../../src/sources/static-schema.ts';
import { parseBareJid } from '../../src/wire/jid.ts';
import { stanzaQuestion } from '../questions.ts';

const docs = join(import.meta.dirname, '../../docs');
const sources = readFileSync(join(docs, 'sources.md'), 'utf8');

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/```(\w+)\n([^]*?)```/g)].flatMap(([, found, block = '']) =>
    found === language ? [block] : [],
  );
}

/** The text under a heading up to the next one of its level. */
function section(heading: string): string {
  return sources.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
}

/** The options in the first table with a header of `option`. */
function optionsIn(text: string): string[] {
  const table = text.slice(text.search(/^\| option /m)).split('\n\n')[0] ?? '';
  return [...table.matchAll(/^\| `([\w.]+)`/gm)].map(([, name = '']) => name);
}

describe('README.md', () => {
  const readme = readFileSync(join(docs, '../README.md'), 'utf8');

  it('gives the trigger that docs/sources.md gives, which tests run against PostgreSQL', () => {
    const [trigger = 'none'] = blocks(readme, 'sql');
    expect(trigger).toContain('CREATE TRIGGER');
    expect(blocks(sources, 'sql')).toContain(trigger);
  });

  it('has an example of rosters that is a configuration', () => {
    const [yaml = ''] = /(?<=:\n\n)( {4}operations:\n(?: {4}.*\n)*?.*roster-sql\n(?: {4}.*\n)*)/.exec(readme) ?? [];
    const config = parseConfig(yaml.replaceAll(/^ {4}/gm, ''), 'README.md', {
      DATABASE_URL: 'postgres://127.0.0.1/app',
    });
    expect(config.sources['people']).toMatchObject({ type: 'roster-sql', listen: { channel: 'warder_roster' } });
  });
});

describe('docs/sources.md', () => {
  it.each(blocks(sources, 'yaml'))('has an example that is a configuration: %s', (yaml) => {
    const config = parseConfig(yaml, 'sources.md', { POLICY_AUTHORIZATION: 'Bearer x' });
    expect(Object.keys(config.sources)).not.toEqual([]);
  });

  it('has an example of a decision and one of a roster that are read as such', () => {
    const [decision = ''] = blocks(section('http'), 'json');
    const [roster = ''] = blocks(section('roster-http'), 'json');
    expect(readDecision(Buffer.from(decision), stanzaQuestion())).toMatchObject({ scope: 'pair', ttlMs: 60_000 });
    expect(readRoster(parseBareJid('alice@example.org'), Buffer.from(roster))).toMatchObject({
      items: [{ jid: 'bob@example.org' }, { jid: 'carol@example.org' }, { jid: 'dave@example.org' }],
      problems: [],
    });
  });

  it.each(sourceConfig.options.map((schema) => [schema.shape.type.value, Object.keys(schema.shape)] as const))(
    'lists the options of %s, and no others',
    (type, keys) => {
      const own = keys.filter((key) => key !== 'type' && !(key in httpOptions));
      const listed = new Set(optionsIn(section(type)).map((name) => name.split('.')[0]));
      expect([...listed].toSorted()).toEqual(own.toSorted());
    },
  );

  it('lists the options that all HTTP sources have, with their defaults', () => {
    const listed = optionsIn(section('What all HTTP sources do'));
    expect([...new Set(listed.map((name) => name.split('.')[0]))].toSorted()).toEqual(
      Object.keys(httpOptions).toSorted(),
    );
    const parsed = sourceConfig.parse({ type: 'http', url: 'http://localhost' }) as unknown as Record<string, unknown>;
    for (const name of ['timeout_ms', 'connections', 'max_concurrent', 'max_queued']) {
      expect(sources).toMatch(new RegExp(`^\\| \`${name}\` +\\| ${String(parsed[name])} `, 'm'));
    }
  });
});

describe('docs/static-policy.md', () => {
  it('has an example that is a policy', () => {
    const examples = blocks(readFileSync(join(docs, 'static-policy.md'), 'utf8'), 'yaml');
    expect(examples.map((yaml) => parsePolicy(yaml, 'static-policy.md').rosters.size)).toEqual([1]);
  });
});
