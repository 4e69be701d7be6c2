/**
 * A window of an editor, as far as the extension sees one, driven over standard input.
 *
 * Owns the stand-in for the module `vscode`: what of it the extension uses, and nothing else.
 * Promises a JSON object on a line for all that a person would see, and `{"done": COMMAND}` after
 * each command: `focus`, `close`, `off` or `on` for the line, or the name of a command of the
 * extension. Its clock runs `haste` times as fast.
 * Leaves the files and sockets to the real Node, and what must hold to `tests/unit/extension`.
 */

"use strict";

const Module = require("node:module");
const { join } = require("node:path");
const { createInterface } = require("node:readline");

const { scheme, folders, settings, haste } = JSON.parse(process.argv[2]);
const commands = new Map();
const focusing = [];
const configuring = [];
const wait = setTimeout;
globalThis.setTimeout = (what, delayMs) => wait(what, delayMs / haste);

function tell(what) {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

class ThemeColor {
  constructor(id) {
    this.id = id;
  }
}

/** Takes listeners for an event. */
function listening(listeners) {
  return (listener) => {
    listeners.push(listener);
    return { dispose: () => listeners.splice(listeners.indexOf(listener), 1) };
  };
}

class StatusBarItem {
  constructor(id) {
    this.kind = id === "blueplane.health" ? "item" : "line";
  }

  show() {
    const { text, tooltip, color, backgroundColor: back, name, command } = this;
    tell({ [this.kind]: { text, tooltip, name, command, colour: color?.id, back: back?.id } });
  }

  hide() {
    tell({ [this.kind]: null });
  }

  dispose() {}
}

class OutputChannel {
  replace(text) {
    this.text = text;
  }

  show(preserveFocus) {
    tell({ page: this.text, preserveFocus });
  }

  dispose() {}
}

const vscode = {
  ThemeColor,
  StatusBarAlignment: { Left: 1, Right: 2 },
  version: "1.99.3",
  env: { uriScheme: scheme },
  workspace: {
    workspaceFolders: folders?.map(([uriScheme, fsPath]) => ({ uri: { scheme: uriScheme, fsPath } })),
    getConfiguration: () => ({ get: (key) => settings[key] }),
    onDidChangeConfiguration: listening(configuring),
  },
  window: {
    state: { focused: true },
    createStatusBarItem: (id) => new StatusBarItem(id),
    createOutputChannel: () => new OutputChannel(),
    showInformationMessage: (text) => tell({ message: text }),
    onDidChangeWindowState: listening(focusing),
  },
  commands: {
    registerCommand: (name, callback) => {
      commands.set(name, callback);
      return { dispose: () => commands.delete(name) };
    },
  },
};

const load = Module._load;
Module._load = (request, ...rest) => (request === "vscode" ? vscode : load(request, ...rest));
// An editor logs these; here they end the process, so that a test sees them.
process.on("unhandledRejection", (error) => {
  throw error;
});

const extension = require(join(__dirname, "..", "out", "extension.js"));
const context = { subscriptions: [] };

async function obey(command) {
  if (command === "focus") {
    focusing.forEach((listener) => listener({ focused: true }));
  } else if (command === "on" || command === "off") {
    settings.statusLine = command === "on";
    configuring.forEach((listener) => listener());
  } else if (command === "close") {
    await extension.deactivate();
    context.subscriptions.forEach((each) => each.dispose());
  } else {
    await commands.get(command)();
  }
  tell({ done: command });
}

extension.activate(context);
tell({ done: "activate" });
const input = createInterface({ input: process.stdin });
input.on("line", obey);
