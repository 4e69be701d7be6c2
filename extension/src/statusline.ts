/**
 * The line of `blueplane statusline` in the status bar, and the page of `blueplane usage` behind it.
 *
 * Owns this item, its command, and when the program is asked.
 * Promises that one question at a time is open, and that the item is hidden when it is turned off
 * or there is no line.
 * Leaves running the program to `program.ts`, the words to `view.ts`.
 */

import * as vscode from "vscode";

import { ask } from "./program";
import { Rounds } from "./rounds";
import { line, lineTip } from "./view";

/** Milliseconds between two questions: of the window that is used, and of one behind it. */
const ASK_MS = 30_000;
const BEHIND_MS = 300_000;
const SILENT = "Blueplane gives no answer: `blueplane usage`, in a terminal, says why.";

export class StatusLine implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem(
    "blueplane.statusLine",
    vscode.StatusBarAlignment.Right,
  );
  private readonly rounds = new Rounds(
    () => this.update(),
    () => (vscode.window.state.focused ? ASK_MS : BEHIND_MS),
  );
  private readonly disposables: vscode.Disposable[];
  private output: vscode.OutputChannel | undefined;
  private limit = new AbortController();
  private ended = false;

  constructor(private readonly findHome: () => Promise<string | undefined>) {
    this.item.name = "Blueplane: today";
    this.item.command = "blueplane.showUsage";
    this.disposables = [
      this.item,
      vscode.commands.registerCommand("blueplane.showUsage", () => this.showUsage()),
      vscode.window.onDidChangeWindowState(({ focused }) => focused && this.rounds.hurry()),
      vscode.workspace.onDidChangeConfiguration(() => this.rounds.hurry()),
    ];
  }

  dispose(): void {
    this.ended = true;
    this.rounds.end();
    this.limit.abort();
    for (const each of [...this.disposables, this.output]) {
      each?.dispose();
    }
  }

  private async update(): Promise<void> {
    const home = isWanted() ? await this.findHome() : undefined;
    this.limit = new AbortController();
    const text = line((home && !this.ended && (await ask(home, ["statusline"], this.limit))) || "");
    if (this.ended) {
      return;
    }
    if (text && isWanted()) {
      this.item.text = text;
      this.item.tooltip = lineTip(text, new Date());
      this.item.show();
    } else {
      this.item.hide();
    }
  }

  private async showUsage(): Promise<void> {
    const home = await this.findHome();
    const page = home && (await ask(home, ["usage"], new AbortController()));
    if (!page || this.ended) {
      void vscode.window.showInformationMessage(SILENT);
      return;
    }
    this.output ??= vscode.window.createOutputChannel("Blueplane: usage");
    this.output.replace(page);
    this.output.show(true);
  }
}

function isWanted(): boolean {
  return vscode.workspace.getConfiguration("blueplane").get("statusLine") !== false;
}
