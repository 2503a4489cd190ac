/** placeholder until the map is written */
export type Operation = 'stanza-check' | 'join-check' | 'session-check' | 'roster-refresh' | 'user-removed';
