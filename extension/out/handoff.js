"use strict";
/**
 * Hand-off files: how an event of the editor's window gets into the spool.
 *
 * Owns their names, the trailer and the refusals: a twin of `hooks/blueplane-hook`, whose README
 * is the contract.
 * Promises that a file is written with one call, so that it is whole or lacks its trailer, and
 * never to raise: the editor must not hear of a full disk.
 * Leaves reading, counting and removing the files to the server.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.handOff = handOff;
const node_fs_1 = require("node:fs");
const promises_1 = require("node:fs/promises");
const node_path_1 = require("node:path");
const home_1 = require("./home");
const PLATFORM = "cursor";
/** Names that are tried: each can be taken by what a dead process with the same id left behind. */
const MAX_NAMES = 50;
const PRIVATE = 0o600;
const NEW = node_fs_1.constants.O_WRONLY | node_fs_1.constants.O_CREAT | node_fs_1.constants.O_EXCL | node_fs_1.constants.O_NOFOLLOW;
/** A pipe in the place of the tally must hold nobody up. */
const TALLY = node_fs_1.constants.O_WRONLY |
    node_fs_1.constants.O_CREAT |
    node_fs_1.constants.O_APPEND |
    node_fs_1.constants.O_NOFOLLOW |
    node_fs_1.constants.O_NONBLOCK;
/** Leaves an event in the spool of `home`, or the letter of a refusal. */
async function handOff(home, hookName, payload) {
    try {
        const text = `${JSON.stringify(payload)}\n\x1e${PLATFORM} ${hookName}\n`;
        const refusal = (await refusalOf(home)) ?? (await store(home, text));
        if (refusal) {
            await count(home, refusal);
        }
    }
    catch {
        // What can be neither stored nor counted is not captured; nobody here could help that.
    }
}
async function refusalOf(home) {
    if (await (0, home_1.exists)((0, node_path_1.join)(home, "run", "full"))) {
        return "f";
    }
    return (await (0, home_1.exists)((0, node_path_1.join)(home, "run", "paused"))) ? "p" : undefined;
}
async function store(home, text) {
    const [name, file] = await create((0, node_path_1.join)(home, "spool"));
    if (!file) {
        return "c";
    }
    try {
        const refusal = await tooLate(home, file);
        await (refusal ? (0, promises_1.unlink)(name) : file.writeFile(text));
        return refusal;
    }
    finally {
        await file.close();
    }
}
/** Makes a file under the first name that is free. */
async function create(spool) {
    const prefix = (0, node_path_1.join)(spool, `${process.pid}.${process.ppid}`);
    for (let number = 0; number < MAX_NAMES; number += 1) {
        const name = `${prefix}.${number}`;
        try {
            return [name, await (0, promises_1.open)(name, NEW, PRIVATE)];
        }
        catch {
            continue; // taken, or no file can be made: then the others cannot either
        }
    }
    return [prefix, undefined];
}
/** Compares the times of the flags with that of the new file, so that one clock gave both. */
async function tooLate(home, file) {
    const now = (await file.stat({ bigint: true })).mtimeNs;
    const pauseEnds = await timeOf((0, node_path_1.join)(home, "run", "paused-until"));
    if (pauseEnds !== undefined && now < pauseEnds) {
        return "p";
    }
    const leaseEnds = await timeOf((0, node_path_1.join)(home, "run", "lease"));
    return leaseEnds !== undefined && now > leaseEnds ? "l" : undefined;
}
async function timeOf(name) {
    try {
        return (await (0, promises_1.stat)(name, { bigint: true })).mtimeNs;
    }
    catch {
        return undefined; // no such flag
    }
}
async function count(home, refusal) {
    const tally = await (0, promises_1.open)((0, node_path_1.join)(home, "run", "refused"), TALLY, PRIVATE);
    try {
        if ((await tally.stat()).nlink === 1) {
            await tally.writeFile(refusal);
        }
    }
    finally {
        await tally.close();
    }
}
