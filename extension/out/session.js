"use strict";
/**
 * The session of this window: from when it was opened, or a new one was asked for, to its end.
 *
 * Owns its id, its length and the order of its events.
 * Promises one start and one end for each session, in this order.
 * Leaves handing the events over to whoever made it.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.WindowSessions = void 0;
const node_crypto_1 = require("node:crypto");
const node_perf_hooks_1 = require("node:perf_hooks");
class WindowSessions {
    deliver;
    window;
    current;
    last = Promise.resolve();
    constructor(deliver, window) {
        this.deliver = deliver;
        this.window = window;
    }
    /** Begins the session of the window, unless it has begun. */
    begin() {
        return this.current ? this.last : this.start("startup");
    }
    /** Ends the session and begins another one. */
    async renew() {
        void this.finish("user_close");
        await this.start("clear");
    }
    /** Ends the session with the window. */
    end() {
        return this.finish("window_close");
    }
    start(source) {
        const session = { id: (0, node_crypto_1.randomUUID)(), beganMs: node_perf_hooks_1.performance.now() };
        this.current = session;
        return this.say("windowOpen", session, { source, vscode_version: this.window.version });
    }
    finish(reason) {
        const session = this.current;
        this.current = undefined;
        if (!session) {
            return this.last;
        }
        const duration_ms = Math.round(node_perf_hooks_1.performance.now() - session.beganMs);
        return this.say("windowClose", session, { reason, duration_ms });
    }
    /** Hands an event over after the one before it: the server goes by the times of the files. */
    say(hookName, session, more) {
        const payload = { session_id: session.id, workspace_roots: this.window.roots(), ...more };
        this.last = this.last.then(() => this.deliver(hookName, payload));
        return this.last;
    }
}
exports.WindowSessions = WindowSessions;
