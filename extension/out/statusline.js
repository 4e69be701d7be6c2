"use strict";
/**
 * The line of `blueplane statusline` in the status bar, and the page of `blueplane usage` behind it.
 *
 * Owns this item, its command, and when the program is asked.
 * Promises that one question at a time is open, and that the item is hidden when it is turned off
 * or there is no line.
 * Leaves running the program to `program.ts`, the words to `view.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.StatusLine = void 0;
const vscode = require("vscode");
const program_1 = require("./program");
const rounds_1 = require("./rounds");
const view_1 = require("./view");
/** Milliseconds between two questions: of the window that is used, and of one behind it. */
const ASK_MS = 30_000;
const BEHIND_MS = 300_000;
const SILENT = "Blueplane gives no answer: `blueplane usage`, in a terminal, says why.";
class StatusLine {
    findHome;
    item = vscode.window.createStatusBarItem("blueplane.statusLine", vscode.StatusBarAlignment.Right);
    rounds = new rounds_1.Rounds(() => this.update(), () => (vscode.window.state.focused ? ASK_MS : BEHIND_MS));
    disposables;
    output;
    limit = new AbortController();
    ended = false;
    constructor(findHome) {
        this.findHome = findHome;
        this.item.name = "Blueplane: today";
        this.item.command = "blueplane.showUsage";
        this.disposables = [
            this.item,
            vscode.commands.registerCommand("blueplane.showUsage", () => this.showUsage()),
            vscode.window.onDidChangeWindowState(({ focused }) => focused && this.rounds.hurry()),
            vscode.workspace.onDidChangeConfiguration(() => this.rounds.hurry()),
        ];
    }
    dispose() {
        this.ended = true;
        this.rounds.end();
        this.limit.abort();
        for (const each of [...this.disposables, this.output]) {
            each?.dispose();
        }
    }
    async update() {
        const home = isWanted() ? await this.findHome() : undefined;
        this.limit = new AbortController();
        const text = (0, view_1.line)((home && !this.ended && (await (0, program_1.ask)(home, ["statusline"], this.limit))) || "");
        if (this.ended) {
            return;
        }
        if (text && isWanted()) {
            this.item.text = text;
            this.item.tooltip = (0, view_1.lineTip)(text, new Date());
            this.item.show();
        }
        else {
            this.item.hide();
        }
    }
    async showUsage() {
        const home = await this.findHome();
        const page = home && (await (0, program_1.ask)(home, ["usage"], new AbortController()));
        if (!page || this.ended) {
            void vscode.window.showInformationMessage(SILENT);
            return;
        }
        this.output ??= vscode.window.createOutputChannel("Blueplane: usage");
        this.output.replace(page);
        this.output.show(true);
    }
}
exports.StatusLine = StatusLine;
function isWanted() {
    return vscode.workspace.getConfiguration("blueplane").get("statusLine") !== false;
}
