"use strict";
/**
 * What is shown: health in the status bar, the page behind it, and the line beside it.
 *
 * Owns the words, icons and colours.
 * Promises that a colour only repeats a word, and plain text: nothing in it is a link.
 * Leaves looking to `health.ts`, asking for the line to `statusline.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.LOOKS = void 0;
exports.label = label;
exports.tip = tip;
exports.page = page;
exports.line = line;
exports.lineTip = lineTip;
exports.LOOKS = {
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
const SENTENCES = {
    down: "No server runs: `blueplane start` starts one. What the hooks hand over waits until then.",
    silent: "The server does not answer, or stands still: `blueplane doctor` says why.",
    unknown: "It cannot be asked from here: `blueplane health` asks it.",
};
const MAX_FINDINGS = 4;
/** Characters of the line: others have a place in the status bar, too. */
const MAX_LINE = 100;
/** Returns the text of the item. */
function label(state) {
    const { icon, word } = exports.LOOKS[state];
    return `$(${icon}) Blueplane: ${word}`;
}
/** Returns what is shown when the pointer rests on the item. */
function tip(health) {
    const more = health.findings.length - MAX_FINDINGS;
    const rest = more > 0 ? [`and ${more} more`] : [];
    return [title(health), ...sentences(health).slice(0, MAX_FINDINGS), ...rest].join("\n");
}
/** Returns the page behind the item. */
function page(health, moment) {
    const parts = [...health.parts].map(([name, word]) => `  ${name.padEnd(10)}${word}`);
    const found = sentences(health).map((sentence) => `  ${sentence}`);
    const blocks = [[`${moment.toISOString()}  ${title(health)}`], parts, found].filter((lines) => lines.length > 0);
    return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}
/** Returns the first line of what a program printed, short, and without what could act. */
function line(output) {
    const [first = ""] = output.split("\n", 1);
    const inert = first.replace(/[\s\p{C}]+/gu, " ").replaceAll("$(", "$ ("); // an icon
    const characters = [...inert.trim()];
    const rest = characters.splice(MAX_LINE - 1);
    return characters.join("") + (rest.length > 1 ? "…" : rest.join(""));
}
/** Returns what is shown when the pointer rests on the line. */
function lineTip(text, moment) {
    const asked = `as of ${moment.toLocaleTimeString()}, of all windows and terminals`;
    return [`Blueplane: ${text}`, asked, "From this machine alone; nothing leaves it."].join("\n");
}
function title(health) {
    return `Blueplane: ${exports.LOOKS[health.state].word}`;
}
function sentences(health) {
    const alone = SENTENCES[health.state];
    const found = health.findings.map(({ colour, sentence, command }) => `${colour}: ${sentence} (${command})`);
    return alone ? [alone] : found;
}
