/** Hooks tell the workers which version they are: the one that they were released with. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { version } from '../../src/version.ts';

const places: [string, string, RegExp][] = [
  ['Prosody hook', 'prosody/mod_warder/report.lib.lua', /^local version = "(.*)";$/m],
  ['ejabberd hook', 'ejabberd/mod_warder/src/mod_warder_report.erl', /^-define\(VERSION, <<"(.*)">>\)\.$/m],
  ['Erlang application', 'ejabberd/mod_warder/src/warder.app.src', /\{vsn, "(.*)"\}/],
];

describe('the version', () => {
  it.each(places)('of the %s is that of the package', (_what, path, pattern) => {
    const text = readFileSync(new URL(`../../deploy/${path}`, import.meta.url), 'utf8');
    expect(pattern.exec(text)?.[1]).toBe(version);
  });
});
