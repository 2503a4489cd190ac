/** What the exit codes mean, the same for every command. `docs/cli.md` has the table. */
export const exitCodes = {
  ok: 0,
  /** The command ran and failed: no worker, a failure reply, a problem that is not the caller's. */
  failed: 1,
  /** The command line or the configuration is wrong. */
  usage: 2,
  /** `check`: the verdict was not allow or modify. */
  refused: 3,
} as const;
