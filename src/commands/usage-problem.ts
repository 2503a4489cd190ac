/** The command line contradicts itself, or lacks something that no single option shows. */
export class UsageProblem extends Error {
  override readonly name = 'UsageProblem';
}
