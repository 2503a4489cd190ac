/** What a command has to say: for people on their terminal, for machines with `--json`, for scripts as exit code. */

export interface Report {
  readonly exitCode: number;
  /** Ends with a line break. */
  readonly text: string;
  readonly json: object;
}

/** Prints one to standard output, whatever its exit code: it is what was asked for. */
export function printReport({ exitCode, text, json }: Report, isJson: boolean): void {
  process.stdout.write(isJson ? `${JSON.stringify(json, null, 2)}\n` : text);
  process.exitCode = exitCode;
}
