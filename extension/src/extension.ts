/**
 * The extension: it puts the parts together when the editor has started.
 *
 * Owns the status bar item of health, two commands, and when the server is asked.
 * Promises that the editor waits for nothing of ours and hears of no error, and that where
 * Blueplane is not installed nothing is written, asked or shown.
 * Leaves the events to `session.ts` and `handoff.ts`, health to `health.ts` and `view.ts`, today's
 * figures to `statusline.ts`.
 */

import * as vscode from "vscode";

import { handOff } from "./handoff";
import { look } from "./health";
import { findHome, isInstalled } from "./home";
import { Rounds } from "./rounds";
import { WindowSessions } from "./session";
import { StatusLine } from "./statusline";
import { LOOKS, label, page, tip } from "./view";

/** Milliseconds between two looks: at the window that is used, and at one behind it. */
const LOOK_MS = 10_000;
const BEHIND_MS = 60_000;
const ABSENT = "Blueplane is not installed here. `blueplane install`, in a terminal, does that.";
const STRANGE = "Blueplane tells of the sessions of Cursor's windows only.";

let running: Extension | undefined;

export function activate(context: vscode.ExtensionContext): void {
  running = new Extension();
  context.subscriptions.push(running);
}

/** Ends the session; the editor waits for that, within limits of its own. */
export async function deactivate(): Promise<void> {
  await running?.end();
  running = undefined;
}

class Extension implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem(
    "blueplane.health",
    vscode.StatusBarAlignment.Right,
  );
  private readonly sessions = new WindowSessions((hook, payload) => this.deliver(hook, payload), {
    roots: workspaceRoots,
    version: vscode.version,
  });
  private readonly rounds = new Rounds(
    () => this.update(),
    () => (vscode.window.state.focused ? LOOK_MS : BEHIND_MS),
  );
  private readonly disposables: vscode.Disposable[];
  private output: vscode.OutputChannel | undefined;
  private home: string | undefined;
  private ended = false;

  constructor() {
    this.item.name = "Blueplane";
    this.item.command = "blueplane.showStatus";
    this.disposables = [
      this.item,
      new StatusLine(() => this.findHome()),
      vscode.commands.registerCommand("blueplane.showStatus", () => this.showStatus()),
      vscode.commands.registerCommand("blueplane.newSession", () => this.newSession()),
      vscode.window.onDidChangeWindowState(({ focused }) => focused && this.rounds.hurry()),
    ];
  }

  dispose(): void {
    this.ended = true;
    this.rounds.end();
    for (const each of [...this.disposables, this.output]) {
      each?.dispose();
    }
  }

  end(): Promise<void> {
    this.ended = true;
    this.rounds.end();
    return this.sessions.end();
  }

  /** Looks at the server; begins the session at the first look. */
  private async update(): Promise<void> {
    const home = await this.findHome();
    if (home && !this.ended) {
      void this.sessions.begin();
      await this.refresh(home);
    } else {
      this.item.hide();
    }
  }

  private async refresh(home: string): Promise<string> {
    const health = await look(home);
    const { colour, background } = LOOKS[health.state];
    if (!this.ended) {
      this.item.text = label(health.state);
      this.item.tooltip = tip(health);
      this.item.color = themed(colour);
      this.item.backgroundColor = themed(background);
      this.item.show();
    }
    return page(health, new Date());
  }

  private async showStatus(): Promise<void> {
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

  private async newSession(): Promise<void> {
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
  private async findHome(): Promise<string | undefined> {
    const chosen: unknown = vscode.workspace.getConfiguration("blueplane").get("home");
    const home = findHome(typeof chosen === "string" ? chosen : "", process.env);
    this.home = home !== undefined && (await isInstalled(home)) ? home : undefined;
    return this.home;
  }

  /** Hands an event over; in an editor that is not Cursor there is nobody's window to tell of. */
  private async deliver(hookName: string, payload: object): Promise<void> {
    if (this.home && isCursor()) {
      await handOff(this.home, hookName, payload);
    }
  }
}

function themed(name: string | undefined): vscode.ThemeColor | undefined {
  return name === undefined ? undefined : new vscode.ThemeColor(name);
}

function isCursor(): boolean {
  return vscode.env.uriScheme.startsWith("cursor");
}

function workspaceRoots(): string[] {
  const folders = vscode.workspace.workspaceFolders ?? [];
  return folders.filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
}
