/**
 * Where Blueplane's home is on this machine.
 *
 * Owns the rule by which the hooks find it, too, and what counts as installed.
 * Promises to raise nothing and to read no file.
 * Leaves what is in the home to `handoff.ts` and `health.ts`.
 */

import { stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";

/** Returns the home that `chosen` or the environment names; undefined for none. */
export function findHome(chosen: string, environment: NodeJS.ProcessEnv): string | undefined {
  const userHome = environment["HOME"];
  const usual = userHome ? join(userHome, ".blueplane") : "";
  const home = chosen || environment["BLUEPLANE_HOME"] || usual;
  return isAbsolute(home) ? home : undefined;
}

/** Whether an install put its hook there: an uninstall takes it out and leaves the data. */
export function isInstalled(home: string): Promise<boolean> {
  return exists(join(home, "hooks", "blueplane-hook"));
}

/** Whether there is something at `name`, as far as we may see. */
export async function exists(name: string): Promise<boolean> {
  try {
    await stat(name);
    return true;
  } catch {
    return false; // a hook's `test -e` says the same of what it may not see
  }
}
