/** The types of sources that there are, each made by its own file. */
import type { SourceConfig } from '../config/sources.ts';
import { createHttpSource } from './http.ts';
import { createMsgFilterHttpSource } from './msg-filter-http.ts';
import { createMucAuthHttpSource } from './muc-auth-http.ts';
import { createRosterHttpSource } from './roster-http.ts';
import { createRosterSqlSource } from './roster-sql.ts';
import type { Source, SourceContext } from './source.ts';
import { createStaticSource } from './static.ts';

/** @throws what making a source of that type throws: a file that cannot be read, a policy that is broken. */
export function createSource(config: SourceConfig, context: SourceContext): Promise<Source> {
  switch (config.type) {
    case 'http':
      return createHttpSource(config, context);
    case 'msg-filter-http':
      return createMsgFilterHttpSource(config, context);
    case 'muc-auth-http':
      return createMucAuthHttpSource(config, context);
    case 'roster-http':
      return createRosterHttpSource(config, context);
    case 'roster-sql':
      return createRosterSqlSource(config, context);
    case 'static':
      return createStaticSource(config, context);
  }
}
