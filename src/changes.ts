/** What has changed: the one scope of an invalidation. JIDs, rooms and domains are in their normal form. */
import type { Operation } from './wire/operation.ts';

export type Change =
  | { readonly user: string }
  | { readonly room: string }
  | { readonly domain: string }
  | { readonly operation: Operation }
  | { readonly all: true };
