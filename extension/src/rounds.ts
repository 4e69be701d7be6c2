/**
 * Work that is done again and again, with pauses.
 *
 * Owns the timer.
 * Promises that no round begins before the one before it has ended, nor any after `end`.
 * Leaves what a round does, and how long the pauses are, to whoever made it.
 */

export class Rounds {
  private timer: NodeJS.Timeout | undefined;
  private isGoing = false;
  private ended = false;

  constructor(
    private readonly round: () => Promise<void>,
    private readonly pauseMs: () => number,
  ) {
    this.hurry();
  }

  /** Has the next round begin at once, unless one is going. */
  hurry(): void {
    this.schedule(0);
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.timer);
  }

  private schedule(delayMs: number): void {
    clearTimeout(this.timer);
    if (!this.ended) {
      this.timer = setTimeout(() => void this.go(), delayMs);
    }
  }

  private async go(): Promise<void> {
    if (this.isGoing) {
      return; // which says when the next one begins
    }
    this.isGoing = true;
    try {
      await this.round();
    } finally {
      this.isGoing = false;
      this.schedule(this.pauseMs());
    }
  }
}
