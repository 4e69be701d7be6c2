/**
 * How Blueplane is: one question to the running server.
 *
 * Owns the question, and what its answer, or its silence, means.
 * Promises an answer within `ANSWER_MS`, of the server of this user only, and to raise nothing. It
 * asks over the control socket: its directory is the user's alone, so nobody else can answer,
 * whereas any program of the machine may have taken the port of HTTP.
 * Leaves the words and colours on the screen to `view.ts`.
 */

import { lstat } from "node:fs/promises";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";

/** A colour of the server's; or that none runs, that it does not answer, or cannot be asked. */
export type State = "green" | "yellow" | "orange" | "red" | "down" | "silent" | "unknown";

/** Something that is not as it should be, and the command that helps. */
export interface Finding {
  readonly colour: string;
  readonly sentence: string;
  readonly command: string;
}

export interface Health {
  readonly state: State;
  /** The colour of each part, in the server's order. */
  readonly parts: ReadonlyMap<string, string>;
  readonly findings: readonly Finding[];
}

const ANSWER_MS = 3_000;
const MAX_CHARS = 1024 * 1024;
/** Bytes of the longest path that a socket can have: in a deeper home it lies elsewhere. */
const MAX_SOCKET_PATH = 103;
/** The server looks once a second: an older look says that it stands still. */
const STALE_MS = 10_000;
const COLOURS: readonly string[] = ["green", "yellow", "orange", "red"] satisfies State[];

/** Asks the server of `home` how it is. */
export async function look(home: string): Promise<Health> {
  const socket = join(home, "run", "control.sock");
  if (Buffer.byteLength(socket) > MAX_SOCKET_PATH) {
    return only("unknown");
  }
  try {
    if (!(await isOurs(dirname(socket)))) {
      return only("unknown");
    }
    return read(JSON.parse(await ask(socket)), Date.now());
  } catch (error) {
    return only(isAbsence(error) ? "down" : "silent");
  }
}

/** Reads the server's answer; what is not one is silence. */
export function read(answer: unknown, nowMs: number): Health {
  const body = record(record(answer)["ok"]);
  const { health_status: state, as_of_ms: asOfMs } = body;
  if (!isColour(state) || typeof asOfMs !== "number" || nowMs - asOfMs > STALE_MS) {
    return only("silent");
  }
  const parts = new Map<string, string>();
  const findings: Finding[] = [];
  for (const [name, value] of Object.entries(body)) {
    const part = record(value);
    if (isColour(part["health_status"])) {
      parts.set(name, part["state"] === "ok" ? part["health_status"] : text(part["state"]));
      findings.push(...list(part["findings"]).map(finding));
    }
  }
  return { state, parts, findings: findings.sort(worstFirst) };
}

function only(state: State): Health {
  return { state, parts: new Map(), findings: [] };
}

async function isOurs(directory: string): Promise<boolean> {
  const found = await lstat(directory);
  return found.isDirectory() && found.uid === process.getuid?.();
}

/** Returns the line that the server answers with. */
function ask(socket: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    const timer = setTimeout(() => connection.destroy(new Error("no answer")), ANSWER_MS);
    let answer = "";
    connection.setEncoding("utf8");
    connection.on("connect", () => connection.write('{"op":"health"}\n'));
    connection.on("data", (part: string) => {
      answer += part;
      if (answer.endsWith("\n")) {
        resolve(answer);
        connection.destroy();
      } else if (answer.length > MAX_CHARS) {
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

function isAbsence(error: unknown): boolean {
  const { code } = record(error);
  return code === "ENOENT" || code === "ECONNREFUSED";
}

// --- what comes from another program may be anything ----------------------------------------------

function isColour(value: unknown): value is State {
  return COLOURS.includes(text(value));
}

function finding(value: unknown): Finding {
  const { colour, sentence, command } = record(value);
  return { colour: text(colour), sentence: text(sentence), command: text(command) };
}

function worstFirst(one: Finding, other: Finding): number {
  return COLOURS.indexOf(other.colour) - COLOURS.indexOf(one.colour);
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
