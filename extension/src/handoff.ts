/**
 * Hand-off files: how an event of the editor's window gets into the spool.
 *
 * Owns their names, the trailer and the refusals: a twin of `hooks/blueplane-hook`, whose README
 * is the contract.
 * Promises that a file is written with one call, so that it is whole or lacks its trailer, and
 * never to raise: the editor must not hear of a full disk.
 * Leaves reading, counting and removing the files to the server.
 */

import { constants } from "node:fs";
import { type FileHandle, open, stat, unlink } from "node:fs/promises";
import { join } from "node:path";

import { exists } from "./home";

/** Why an event is not taken: the letter that the server counts. */
type Refusal = "c" | "f" | "l" | "p";

const PLATFORM = "cursor";
/** Names that are tried: each can be taken by what a dead process with the same id left behind. */
const MAX_NAMES = 50;
const PRIVATE = 0o600;
const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** A pipe in the place of the tally must hold nobody up. */
const TALLY =
  constants.O_WRONLY |
  constants.O_CREAT |
  constants.O_APPEND |
  constants.O_NOFOLLOW |
  constants.O_NONBLOCK;

/** Leaves an event in the spool of `home`, or the letter of a refusal. */
export async function handOff(home: string, hookName: string, payload: object): Promise<void> {
  try {
    const text = `${JSON.stringify(payload)}\n\x1e${PLATFORM} ${hookName}\n`;
    const refusal = (await refusalOf(home)) ?? (await store(home, text));
    if (refusal) {
      await count(home, refusal);
    }
  } catch {
    // What can be neither stored nor counted is not captured; nobody here could help that.
  }
}

async function refusalOf(home: string): Promise<Refusal | undefined> {
  if (await exists(join(home, "run", "full"))) {
    return "f";
  }
  return (await exists(join(home, "run", "paused"))) ? "p" : undefined;
}

async function store(home: string, text: string): Promise<Refusal | undefined> {
  const [name, file] = await create(join(home, "spool"));
  if (!file) {
    return "c";
  }
  try {
    const refusal = await tooLate(home, file);
    await (refusal ? unlink(name) : file.writeFile(text));
    return refusal;
  } finally {
    await file.close();
  }
}

/** Makes a file under the first name that is free. */
async function create(spool: string): Promise<[string, FileHandle | undefined]> {
  const prefix = join(spool, `${process.pid}.${process.ppid}`);
  for (let number = 0; number < MAX_NAMES; number += 1) {
    const name = `${prefix}.${number}`;
    try {
      return [name, await open(name, NEW, PRIVATE)];
    } catch {
      continue; // taken, or no file can be made: then the others cannot either
    }
  }
  return [prefix, undefined];
}

/** Compares the times of the flags with that of the new file, so that one clock gave both. */
async function tooLate(home: string, file: FileHandle): Promise<Refusal | undefined> {
  const now = (await file.stat({ bigint: true })).mtimeNs;
  const pauseEnds = await timeOf(join(home, "run", "paused-until"));
  if (pauseEnds !== undefined && now < pauseEnds) {
    return "p";
  }
  const leaseEnds = await timeOf(join(home, "run", "lease"));
  return leaseEnds !== undefined && now > leaseEnds ? "l" : undefined;
}

async function timeOf(name: string): Promise<bigint | undefined> {
  try {
    return (await stat(name, { bigint: true })).mtimeNs;
  } catch {
    return undefined; // no such flag
  }
}

async function count(home: string, refusal: Refusal): Promise<void> {
  const tally = await open(join(home, "run", "refused"), TALLY, PRIVATE);
  try {
    if ((await tally.stat()).nlink === 1) {
      await tally.writeFile(refusal);
    }
  } finally {
    await tally.close();
  }
}
