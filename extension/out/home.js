"use strict";
/**
 * Where Blueplane's home is on this machine.
 *
 * Owns the rule by which the hooks find it, too, and what counts as installed.
 * Promises to raise nothing and to read no file.
 * Leaves what is in the home to `handoff.ts` and `health.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.findHome = findHome;
exports.isInstalled = isInstalled;
exports.exists = exists;
const promises_1 = require("node:fs/promises");
const node_path_1 = require("node:path");
/** Returns the home that `chosen` or the environment names; undefined for none. */
function findHome(chosen, environment) {
    const userHome = environment["HOME"];
    const usual = userHome ? (0, node_path_1.join)(userHome, ".blueplane") : "";
    const home = chosen || environment["BLUEPLANE_HOME"] || usual;
    return (0, node_path_1.isAbsolute)(home) ? home : undefined;
}
/** Whether an install put its hook there: an uninstall takes it out and leaves the data. */
function isInstalled(home) {
    return exists((0, node_path_1.join)(home, "hooks", "blueplane-hook"));
}
/** Whether there is something at `name`, as far as we may see. */
async function exists(name) {
    try {
        await (0, promises_1.stat)(name);
        return true;
    }
    catch {
        return false; // a hook's `test -e` says the same of what it may not see
    }
}
