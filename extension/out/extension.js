"use strict";
/**
 * The extension: it puts the parts together when the editor has started.
 *
 * Owns the status bar item of health, two commands, and when the server is asked.
 * Promises that the editor waits for nothing of ours and hears of no error, and that where
 * Blueplane is not installed nothing is written, asked or shown.
 * Leaves the events to `session.ts` and `handoff.ts`, health to `health.ts` and `view.ts`, today's
 * figures to `statusline.ts`.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.activate = activate;
exports.deactivate = deactivate;
const vscode = require("vscode");
const handoff_1 = require("./handoff");
const health_1 = require("./health");
const home_1 = require("./home");
const rounds_1 = require("./rounds");
const session_1 = require("./session");
const statusline_1 = require("./statusline");
const view_1 = require("./view");
/** Milliseconds between two looks: at the window that is used, and at one behind it. */
const LOOK_MS = 10_000;
const BEHIND_MS = 60_000;
const ABSENT = "Blueplane is not installed here. `blueplane install`, in a terminal, does that.";
const STRANGE = "Blueplane tells of the sessions of Cursor's windows only.";
let running;
function activate(context) {
    running = new Extension();
    context.subscriptions.push(running);
}
/** Ends the session; the editor waits for that, within limits of its own. */
async function deactivate() {
    await running?.end();
    running = undefined;
}
class Extension {
    item = vscode.window.createStatusBarItem("blueplane.health", vscode.StatusBarAlignment.Right);
    sessions = new session_1.WindowSessions((hook, payload) => this.deliver(hook, payload), {
        roots: workspaceRoots,
        version: vscode.version,
    });
    rounds = new rounds_1.Rounds(() => this.update(), () => (vscode.window.state.focused ? LOOK_MS : BEHIND_MS));
    disposables;
    output;
    home;
    ended = false;
    constructor() {
        this.item.name = "Blueplane";
        this.item.command = "blueplane.showStatus";
        this.disposables = [
            this.item,
            new statusline_1.StatusLine(() => this.findHome()),
            vscode.commands.registerCommand("blueplane.showStatus", () => this.showStatus()),
            vscode.commands.registerCommand("blueplane.newSession", () => this.newSession()),
            vscode.window.onDidChangeWindowState(({ focused }) => focused && this.rounds.hurry()),
        ];
    }
    dispose() {
        this.ended = true;
        this.rounds.end();
        for (const each of [...this.disposables, this.output]) {
            each?.dispose();
        }
    }
    end() {
        this.ended = true;
        this.rounds.end();
        return this.sessions.end();
    }
    /** Looks at the server; begins the session at the first look. */
    async update() {
        const home = await this.findHome();
        if (home && !this.ended) {
            void this.sessions.begin();
            await this.refresh(home);
        }
        else {
            this.item.hide();
        }
    }
    async refresh(home) {
        const health = await (0, health_1.look)(home);
        const { colour, background } = view_1.LOOKS[health.state];
        if (!this.ended) {
            this.item.text = (0, view_1.label)(health.state);
            this.item.tooltip = (0, view_1.tip)(health);
            this.item.color = themed(colour);
            this.item.backgroundColor = themed(background);
            this.item.show();
        }
        return (0, view_1.page)(health, new Date());
    }
    async showStatus() {
        const home = await this.findHome();
        if (!home) {
            void vscode.window.showInformationMessage(ABSENT);
            return;
        }
        const text = await this.refresh(home);
        this.output ??= vscode.window.createOutputChannel("Blueplane");
        this.output.replace(text);
        this.output.show(true);
    }
    async newSession() {
        if (!(await this.findHome())) {
            void vscode.window.showInformationMessage(ABSENT);
            return;
        }
        if (this.ended) {
            return; // the window was closed meanwhile
        }
        await this.sessions.renew();
        const text = isCursor() ? "Blueplane: a new session has begun." : STRANGE;
        void vscode.window.showInformationMessage(text);
    }
    /** Finds the home of an installed Blueplane; undefined where there is none. */
    async findHome() {
        const chosen = vscode.workspace.getConfiguration("blueplane").get("home");
        const home = (0, home_1.findHome)(typeof chosen === "string" ? chosen : "", process.env);
        this.home = home !== undefined && (await (0, home_1.isInstalled)(home)) ? home : undefined;
        return this.home;
    }
    /** Hands an event over; in an editor that is not Cursor there is nobody's window to tell of. */
    async deliver(hookName, payload) {
        if (this.home && isCursor()) {
            await (0, handoff_1.handOff)(this.home, hookName, payload);
        }
    }
}
function themed(name) {
    return name === undefined ? undefined : new vscode.ThemeColor(name);
}
function isCursor() {
    return vscode.env.uriScheme.startsWith("cursor");
}
function workspaceRoots() {
    const folders = vscode.workspace.workspaceFolders ?? [];
    return folders.filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
}
