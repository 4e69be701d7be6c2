"use strict";
/**
 * What is shown of Blueplane's health: the item in the status bar, and the page behind it.
 *
 * Owns the words, icons and colours.
 * Promises that a colour only repeats a word, and plain text: nothing in it is a link.
 * Leaves looking to `health.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.LOOKS = void 0;
exports.label = label;
exports.tip = tip;
exports.page = page;
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
function title(health) {
    return `Blueplane: ${exports.LOOKS[health.state].word}`;
}
function sentences(health) {
    const alone = SENTENCES[health.state];
    const found = health.findings.map(({ colour, sentence, command }) => `${colour}: ${sentence} (${command})`);
    return alone ? [alone] : found;
}
