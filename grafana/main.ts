/** Writes the dashboards as Grafana reads them. Run in the project's folder: `npm run grafana`. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cwd } from 'node:process';
import { dashboards, jsonOf } from './dashboards.ts';

const folder = join(cwd(), 'grafana/dashboards');
mkdirSync(folder, { recursive: true });
for (const dashboard of dashboards) writeFileSync(join(folder, `${dashboard.uid ?? ''}.json`), jsonOf(dashboard));
