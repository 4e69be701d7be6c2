/**
 * The program that was installed, as something to ask.
 *
 * Owns where it is, and how it is run: without a shell, outside the workspace, for one home.
 * Promises to raise nothing, and to wait no longer than `ANSWER_MS`, also for a program that has
 * children or does not heed signals.
 * Leaves what is asked, and what becomes of the answer, to whoever asks.
 */

import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";

const ANSWER_MS = 4_000;
/** A pipe in the place of the file must hold nobody up. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK;

/** Returns what the program of `home` prints; undefined when there is none or it fails. */
export async function ask(
  home: string,
  words: readonly string[],
  limit: AbortController,
): Promise<string | undefined> {
  const timer = setTimeout(() => limit.abort(), ANSWER_MS);
  try {
    return await run(await findProgram(home), words, home, limit.signal);
  } catch {
    return undefined; // what is wrong the same words say in a terminal
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the program that the install of `home` has noted as its newest. */
async function findProgram(home: string): Promise<string> {
  const note = await readFile(join(home, "install.json"), { encoding: "utf8", flag: READ });
  const place: unknown = JSON.parse(note).programs.at(-1);
  if (typeof place !== "string" || !isAbsolute(place)) {
    throw new Error("no program is noted");
  }
  return join(place, "current", "blueplane");
}

function run(
  program: string,
  words: readonly string[],
  home: string,
  signal: AbortSignal,
): Promise<string> {
  const env = { ...process.env, BLUEPLANE_HOME: home };
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const child = execFile(program, words, { cwd: "/", env }, (error, said) =>
      error ? reject(error) : resolve(said),
    );
    signal.addEventListener("abort", () => {
      child.kill("SIGKILL");
      child.stdout?.destroy(); // which a child of its own may hold open
      reject(new Error("no answer"));
    });
    child.stdin?.on("error", () => undefined); // it has ended already
    child.stdin?.end();
  });
}
