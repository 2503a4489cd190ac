import { describe, expect, it } from 'vitest';
import { validate } from '../../src/config/issues.ts';
import { sourceConfig } from '../../src/config/sources.ts';

function problemsOf(options: unknown): string[] {
  const validated = validate(sourceConfig, options, new Set());
  return 'data' in validated ? [] : validated.problems.map(({ path, message }) => `${path}: ${message}`);
}

const http = { type: 'http', url: 'https://policy.example.org/check' };
const filter = { type: 'msg-filter-http', url: 'https://filter.example.org/check{?from,to}' };
const rooms = { type: 'muc-auth-http', url: 'https://rooms.example.org/auth' };
const rosters = { type: 'roster-http', url: 'https://people.example.org/%s' };
const database = {
  type: 'roster-sql',
  url: 'postgres://warder:s3cret@db.example.org/chat',
  query: 'SELECT jid FROM contacts WHERE owner = $1',
};

describe('the options of sources', () => {
  it.each([
    http,
    { ...http, url: 'http://127.0.0.1:8080' },
    { ...http, url: 'http://[::1]:8080/x?y=%7Bz%7D' },
    filter,
    { ...filter, url: 'http://h/{from_domain}{/from_node,to}{?to_resource}{&from}' },
    { ...filter, url: 'http://h{?from,to}' },
    { ...rooms, enabled_for: ['Lobby'] },
    rosters,
    { ...rosters, url: 'http://h/x%20y/%s' },
    { ...rosters, url: 'http://h/{host}/{user}' },
    database,
    { ...database, url: 'postgresql:///chat?host=/run/postgresql' },
    { ...database, query: "SELECT jid, '$2' FROM c WHERE owner = $1 AND host = $2", parameters: ['user', 'host'] },
    { ...database, query: 'SELECT $1 AS jid, $1', listen: { channel: 'c', default_host: 'Example.org' } },
    { type: 'static', file: 'policy.yaml' },
  ])('may be %j', (options) => expect(problemsOf(options)).toEqual([]));

  it.each([
    [{}, 'must be a map with a type, one of http, msg-filter-http, muc-auth-http, roster-http, roster-sql, static'],
    [{ type: 'https', url: 'x' }, 'one of http, msg-filter-http'],
    ['http', 'must be a map with a type'],
    [{ type: 'http' }, 'url: must be a URL such as'],
    [{ ...http, timeout: 5 }, 'timeout: is unknown here; did you mean timeout_ms?'],
    [{ ...http, timeout_ms: 0 }, 'timeout_ms: must be at least 1'],
    [{ ...http, timeout_ms: '2s' }, 'timeout_ms: must be a number, not the text "2s"'],
    [{ ...http, url: 'ftp://x/' }, 'url: must be a URL such as'],
    [{ ...http, url: 'policy.example.org' }, 'url: must be a URL such as'],
    [{ ...http, url: 'https:///x' }, 'url: must be a URL such as'],
    [{ ...http, url: 'https://user:secret@h/' }, 'put it into authorization_header'],
    [{ ...http, url: 'https://h:99999/' }, 'has no valid host'],
    [{ ...http, url: 'https://h/#x' }, 'has a fragment'],
    [{ ...http, url: 'https://h/a b' }, 'has white space'],
    [{ ...http, url: 'https://h/{from}' }, 'is no template'],
    [
      { ...http, send_stanza: false, needs_stanza: true },
      'needs_stanza: a decision that needs the stanza needs send_stanza',
    ],
    [{ ...http, insecure: true, ca_file: '/x' }, 'insecure: contradicts ca_file'],
    [{ ...http, authorization_header: 'Bearer x\n' }, 'authorization_header: must be one line'],
    [{ ...http, headers: { Authorization: 'x' } }, 'headers.Authorization: has an option of its own'],
    [{ ...http, headers: { Host: 'x' } }, 'headers.Host: is set by the call itself'],
    [{ ...http, headers: { 'a b': 'x' } }, 'is no name of a header'],
    [{ ...http, headers: { a: 'x\r\ny: z' } }, 'headers.a: must be one line'],
    [{ ...filter, url: 'http://h/{?from}' }, 'says nothing about to'],
    [{ ...filter, url: 'http://h/check' }, 'says nothing about from and to'],
    [{ ...filter, url: 'http://h/{?from,jid2}' }, 'has no variable "jid2"; there are from,'],
    [{ ...filter, url: 'http://{from_domain}/{?from,to}' }, 'has a variable in its host'],
    [{ ...filter, url: 'http://h.{from_domain}/{?from,to}' }, 'has a variable in its host'],
    [{ ...filter, url: 'http://h/{+from}{to}' }, 'without encoding it; write {from}'],
    [{ ...filter, url: 'http://h/{from:3}{to}' }, 'write the whole variable'],
    [{ ...filter, url: 'http://h/{from}{to' }, 'has a brace without its partner'],
    [{ ...filter, kinds: [] }, 'kinds: must not be empty'],
    [{ ...rooms, enabled_for: ['a'], disabled_for: ['b'] }, 'disabled_for: cannot stand beside enabled_for'],
    [{ ...rooms, enabled_for: ['lobby@rooms.example.org'] }, 'before the @: lobby for lobby@rooms.example.org'],
    [{ ...rooms, disabled_for: ['a b'] }, 'disabled_for[0]: must be the part of a room'],
    [{ ...rooms, enabled_for: { 'example.org': ['a'] } }, 'enabled_for: must be a list of room names'],
    [{ ...rooms, denied: { condition: 'banned' } }, 'denied.condition: must be one of'],
    [{ ...rosters, url: 'http://h/roster' }, 'names no user'],
    [{ ...rosters, url: 'http://h/{host}' }, 'names no user; add {user} or {jid}'],
    [{ ...rosters, url: 'http://h/{user}/%s' }, 'write {user} in place of %s'],
    [{ ...rosters, url: 'http://%s.example.org/' }, 'the host must be fixed'],
    [{ ...database, url: 'mysql://h/d' }, 'url: must begin with postgres://'],
    [{ ...database, url: 'postgres://u:a#b@h/d' }, 'url: is no URL; in user name and password, write @ as %40'],
    [{ ...database, url: 'postgres://h' }, 'url: names no database'],
    [{ type: 'roster-sql', url: database.url }, 'query: must be an SQL statement'],
    [{ ...database, parameters: [] }, 'parameters: must be a list in the order of $1'],
    [{ ...database, parameters: ['contact'] }, 'parameters[0]: must be one of jid, user, host, not the text "contact"'],
    [{ ...database, parameters: ['jid', 'user'] }, 'parameters: has user for $2, which the statement does not have'],
    [{ ...database, query: `${database.query} AND h = $2` }, 'parameters: is too short: the statement has $2'],
    [{ ...database, query: 'SELECT jid FROM contacts' }, 'parameters: has jid for $1, which the statement does not'],
    [{ ...database, pending: { query: 'SELECT $2' } }, 'pending.parameters: has jid for $1'],
    [{ ...database, set: { statement: 'SELECT $1', parameters: ['action'] } }, 'set.parameters[0]: must be one of'],
    [{ ...database, listen: { channel: 'a-b' } }, 'listen.channel: must be a name of letters'],
    [{ ...database, listen: { channel: 'c', default_host: 'a@b' } }, 'listen.default_host: must be a host'],
    [{ ...database, insecure: true }, 'insecure: is unknown here'],
    [{ type: 'static' }, 'file: must be the path of a policy file'],
  ])('may not be %j', (options, problem) => expect(problemsOf(options).join('\n')).toContain(problem));

  it('normalise the names of rooms', () => {
    expect(sourceConfig.parse({ ...rooms, enabled_for: ['LOBBY'] })).toMatchObject({ enabled_for: ['lobby'] });
  });

  it.each(['postgres://u:s3cret#@h/d', 'postgres://u:s3cret@h', 'mysql://u:s3cret@h/d'])(
    'are not repeated where a password may stand in them: %s',
    (url) => {
      expect(problemsOf({ ...database, url })).toHaveLength(1);
      expect(problemsOf({ ...database, url }).join()).not.toContain('s3cret');
    },
  );
});
