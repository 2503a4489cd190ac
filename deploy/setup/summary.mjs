// Counts what a vitest run came to.

/**
 * @typedef {object} Report of vitest's JSON reporter, as far as it is read here
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {number} numPendingTests skipped
 * @property {number} [numTodoTests]
 * @property {readonly { status: string, assertionResults: readonly { status: string }[] }[]} testResults one a file
 */

/**
 * The closing line and the exit code of a run. A file that failed outside its tests (it could not be loaded, or what
 * they all begin with failed, so that they are skipped) is one failure, and so is a run that vitest calls failed with no
 * failed test. A run of no tests has failed as well.
 * @param {Report | undefined} report undefined when there is none
 * @param {number} vitestCode vitest's own exit code
 */
export function summarise(report, vitestCode) {
  const passed = report === undefined ? 0 : report.numPassedTests;
  const skipped = report === undefined ? 0 : report.numPendingTests + (report.numTodoTests || 0);
  const outsideTests =
    report === undefined
      ? 0
      : report.testResults.filter(
          ({ status, assertionResults }) =>
            status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
        ).length;
  const counted = (report === undefined ? 0 : report.numFailedTests) + outsideTests;
  const failed = counted === 0 && vitestCode !== 0 ? 1 : counted;
  const line = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  return { line, exitCode: failed > 0 || passed === 0 ? vitestCode || 1 : 0 };
}
