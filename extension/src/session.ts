/**
 * The session of this window: from when it was opened, or a new one was asked for, to its end.
 *
 * Owns its id, its length and the order of its events.
 * Promises one start and one end for each session, in this order.
 * Leaves handing the events over to whoever made it.
 */

import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";

/** Takes an event: the name of its hook, and what it says. */
export type Deliver = (hookName: string, payload: object) => Promise<void>;

/** What is told of a window: the paths of its workspace, and the version of the editor's base. */
export interface Window {
  readonly roots: () => readonly string[];
  readonly version: string;
}

interface Session {
  readonly id: string;
  readonly beganMs: number;
}

export class WindowSessions {
  private current: Session | undefined;
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly deliver: Deliver,
    private readonly window: Window,
  ) {}

  /** Begins the session of the window, unless it has begun. */
  begin(): Promise<void> {
    return this.current ? this.last : this.start("startup");
  }

  /** Ends the session and begins another one. */
  async renew(): Promise<void> {
    void this.finish("user_close");
    await this.start("clear");
  }

  /** Ends the session with the window. */
  end(): Promise<void> {
    return this.finish("window_close");
  }

  private start(source: string): Promise<void> {
    const session = { id: randomUUID(), beganMs: performance.now() };
    this.current = session;
    return this.say("windowOpen", session, { source, vscode_version: this.window.version });
  }

  private finish(reason: string): Promise<void> {
    const session = this.current;
    this.current = undefined;
    if (!session) {
      return this.last;
    }
    const duration_ms = Math.round(performance.now() - session.beganMs);
    return this.say("windowClose", session, { reason, duration_ms });
  }

  /** Hands an event over after the one before it: the server goes by the times of the files. */
  private say(hookName: string, session: Session, more: object): Promise<void> {
    const payload = { session_id: session.id, workspace_roots: this.window.roots(), ...more };
    this.last = this.last.then(() => this.deliver(hookName, payload));
    return this.last;
  }
}
