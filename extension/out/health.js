"use strict";
/**
 * How Blueplane is: one question to the running server.
 *
 * Owns the question, and what its answer, or its silence, means.
 * Promises an answer within `ANSWER_MS`, of the server of this user only, and to raise nothing. It
 * asks over the control socket: its directory is the user's alone, so nobody else can answer,
 * whereas any program of the machine may have taken the port of HTTP.
 * Leaves the words and colours on the screen to `view.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.look = look;
exports.read = read;
const promises_1 = require("node:fs/promises");
const node_net_1 = require("node:net");
const node_path_1 = require("node:path");
const ANSWER_MS = 3_000;
const MAX_CHARS = 1024 * 1024;
/** Bytes of the longest path that a socket can have: in a deeper home it lies elsewhere. */
const MAX_SOCKET_PATH = 103;
/** The server looks once a second: an older look says that it stands still. */
const STALE_MS = 10_000;
const COLOURS = ["green", "yellow", "orange", "red"];
/** Asks the server of `home` how it is. */
async function look(home) {
    const socket = (0, node_path_1.join)(home, "run", "control.sock");
    if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
        return only("unknown");
    }
    try {
        if (!(await isOurs((0, node_path_1.dirname)(socket)))) {
            return only("unknown");
        }
        return read(JSON.parse(await ask(socket)), Date.now());
    }
    catch (error) {
        return only(isAbsence(error) ? "down" : "silent");
    }
}
/** Reads the server's answer; what is not one is silence. */
function read(answer, nowMs) {
    const body = record(record(answer)["ok"]);
    const { health_status: state, as_of_ms: asOfMs } = body;
    if (!isColour(state) || typeof asOfMs !== "number" || nowMs - asOfMs > STALE_MS) {
        return only("silent");
    }
    const parts = new Map();
    const findings = [];
    for (const [name, value] of Object.entries(body)) {
        const part = record(value);
        if (isColour(part["health_status"])) {
            parts.set(name, part["state"] === "ok" ? part["health_status"] : text(part["state"]));
            findings.push(...list(part["findings"]).map(finding));
        }
    }
    return { state, parts, findings: findings.sort(worstFirst) };
}
function only(state) {
    return { state, parts: new Map(), findings: [] };
}
async function isOurs(directory) {
    const found = await (0, promises_1.lstat)(directory);
    return found.isDirectory() && found.uid === process.getuid?.();
}
/** Returns the line that the server answers with. */
function ask(socket) {
    return new Promise((resolve, reject) => {
        const connection = (0, node_net_1.createConnection)(socket);
        const timer = setTimeout(() => connection.destroy(new Error("no answer")), ANSWER_MS);
        let answer = "";
        connection.setEncoding("utf8");
        connection.on("connect", () => connection.write('{"op":"health"}\n'));
        connection.on("data", (part) => {
            answer += part;
            if (answer.endsWith("\n")) {
                resolve(answer);
                connection.destroy();
            }
            else if (answer.length > MAX_CHARS) {
                connection.destroy(new Error("no end"));
            }
        });
        connection.on("error", reject);
        connection.on("close", () => {
            clearTimeout(timer);
            reject(new Error("half an answer")); // does nothing after a whole one
        });
    });
}
function isAbsence(error) {
    const { code } = record(error);
    return code === "ENOENT" || code === "ECONNREFUSED";
}
// --- what comes from another program may be anything ----------------------------------------------
function isColour(value) {
    return COLOURS.includes(text(value));
}
function finding(value) {
    const { colour, sentence, command } = record(value);
    return { colour: text(colour), sentence: text(sentence), command: text(command) };
}
function worstFirst(one, other) {
    return COLOURS.indexOf(other.colour) - COLOURS.indexOf(one.colour);
}
function record(value) {
    return typeof value === "object" && value !== null ? value : {};
}
function list(value) {
    return Array.isArray(value) ? value : [];
}
function text(value) {
    return typeof value === "string" ? value : "";
}
