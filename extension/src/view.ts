/**
 * What is shown: health in the status bar, the page behind it, and the line beside it.
 *
 * Owns the words, icons and colours.
 * Promises that a colour only repeats a word, and plain text: nothing in it is a link.
 * Leaves looking to `health.ts`, asking for the line to `statusline.ts`.
 */

import type { Health, State } from "./health";

/** How a state looks: `colour` and `background` are names of the editor's theme. */
export interface Look {
  readonly word: string;
  readonly icon: string;
  readonly colour?: string;
  readonly background?: string;
}

export const LOOKS: Readonly<Record<State, Look>> = {
  green: { word: "green", icon: "pass-filled", colour: "charts.green" },
  yellow: { word: "yellow", icon: "warning", colour: "charts.yellow" },
  orange: { word: "orange", icon: "warning", colour: "charts.orange" },
  red: { word: "red", icon: "error", background: "statusBarItem.errorBackground" },
  down: {
    word: "server is down",
    icon: "debug-disconnect",
    background: "statusBarItem.warningBackground",
  },
  silent: { word: "no answer", icon: "question", background: "statusBarItem.warningBackground" },
  unknown: { word: "unknown", icon: "question" },
};

/** What is to be said of a state that no figures come with. */
const SENTENCES: Partial<Record<State, string>> = {
  down: "No server runs: `blueplane start` starts one. What the hooks hand over waits until then.",
  silent: "The server does not answer, or stands still: `blueplane doctor` says why.",
  unknown: "It cannot be asked from here: `blueplane health` asks it.",
};
const MAX_FINDINGS = 4;
/** Characters of the line: others have a place in the status bar, too. */
const MAX_LINE = 100;

/** Returns the text of the item. */
export function label(state: State): string {
  const { icon, word } = LOOKS[state];
  return `$(${icon}) Blueplane: ${word}`;
}

/** Returns what is shown when the pointer rests on the item. */
export function tip(health: Health): string {
  const more = health.findings.length - MAX_FINDINGS;
  const rest = more > 0 ? [`and ${more} more`] : [];
  return [title(health), ...sentences(health).slice(0, MAX_FINDINGS), ...rest].join("\n");
}

/** Returns the page behind the item. */
export function page(health: Health, moment: Date): string {
  const parts = [...health.parts].map(([name, word]) => `  ${name.padEnd(10)}${word}`);
  const found = sentences(health).map((sentence) => `  ${sentence}`);
  const blocks = [[`${moment.toISOString()}  ${title(health)}`], parts, found].filter(
    (lines) => lines.length > 0,
  );
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}

/** Returns the first line of what a program printed, short, and without what could act. */
export function line(output: string): string {
  const [first = ""] = output.split("\n", 1);
  const inert = first.replace(/[\s\p{C}]+/gu, " ").replaceAll("$(", "$ ("); // an icon
  const characters = [...inert.trim()];
  const rest = characters.splice(MAX_LINE - 1);
  return characters.join("") + (rest.length > 1 ? "…" : rest.join(""));
}

/** Returns what is shown when the pointer rests on the line. */
export function lineTip(text: string, moment: Date): string {
  const asked = `as of ${moment.toLocaleTimeString()}, of all windows and terminals`;
  return [`Blueplane: ${text}`, asked, "From this machine alone; nothing leaves it."].join("\n");
}

function title(health: Health): string {
  return `Blueplane: ${LOOKS[health.state].word}`;
}

function sentences(health: Health): string[] {
  const alone = SENTENCES[health.state];
  const found = health.findings.map(
    ({ colour, sentence, command }) => `${colour}: ${sentence} (${command})`,
  );
  return alone ? [alone] : found;
}
