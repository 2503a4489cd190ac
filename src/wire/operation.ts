/** The questions that hooks ask. The slug is the subject's tail, the file's name and the metric's label. */
export const operationNames = [
  'stanza-check',
  'join-check',
  'session-check',
  'roster-refresh',
  'roster-set',
  'roster-subscription',
  'user-removed',
] as const;

export type Operation = (typeof operationNames)[number];
