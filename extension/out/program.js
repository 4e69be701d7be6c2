"use strict";
/**
 * The program that was installed, as something to ask.
 *
 * Owns where it is, and how it is run: without a shell, outside the workspace, for one home.
 * Promises to raise nothing, and to wait no longer than `ANSWER_MS`, also for a program that has
 * children or does not heed signals.
 * Leaves what is asked, and what becomes of the answer, to whoever asks.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.ask = ask;
const node_child_process_1 = require("node:child_process");
const node_fs_1 = require("node:fs");
const promises_1 = require("node:fs/promises");
const node_path_1 = require("node:path");
const ANSWER_MS = 4_000;
/** A pipe in the place of the file must hold nobody up. */
const READ = node_fs_1.constants.O_RDONLY | node_fs_1.constants.O_NONBLOCK;
/** Returns what the program of `home` prints; undefined when there is none or it fails. */
async function ask(home, words, limit) {
    const timer = setTimeout(() => limit.abort(), ANSWER_MS);
    try {
        return await run(await findProgram(home), words, home, limit.signal);
    }
    catch {
        return undefined; // what is wrong the same words say in a terminal
    }
    finally {
        clearTimeout(timer);
    }
}
/** Returns the program that the install of `home` has noted as its newest. */
async function findProgram(home) {
    const note = await (0, promises_1.readFile)((0, node_path_1.join)(home, "install.json"), { encoding: "utf8", flag: READ });
    const place = JSON.parse(note).programs.at(-1);
    if (typeof place !== "string" || !(0, node_path_1.isAbsolute)(place)) {
        throw new Error("no program is noted");
    }
    return (0, node_path_1.join)(place, "current", "blueplane");
}
function run(program, words, home, signal) {
    const env = { ...process.env, BLUEPLANE_HOME: home };
    return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const child = (0, node_child_process_1.execFile)(program, words, { cwd: "/", env }, (error, said) => error ? reject(error) : resolve(said));
        signal.addEventListener("abort", () => {
            child.kill("SIGKILL");
            child.stdout?.destroy(); // which a child of its own may hold open
            reject(new Error("no answer"));
        });
        child.stdin?.on("error", () => undefined); // it has ended already
        child.stdin?.end();
    });
}
