// Which Node Warder needs. This folder runs before anything is installed, on whatever Node is there: plain JavaScript
// on Node's built-ins, in no syntax newer than Node 16 parses.

/**
 * What is wrong with a Node version, in one line, or undefined when Warder runs on it. The bounds are those of the
 * tools it is built and tested with (^20.19.0 || >=22.12.0), the same as `engines` in package.json.
 * @param {string} version as in `process.versions.node`
 * @returns {string | undefined}
 */
export function nodeProblem(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const runs = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  return runs ? undefined : `this is Node ${version}; Node 20.19 or later is needed (not 21, and of 22 from 22.12)`;
}
