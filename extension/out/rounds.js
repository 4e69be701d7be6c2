"use strict";
/**
 * Work that is done again and again, with pauses.
 *
 * Owns the timer.
 * Promises that no round begins before the one before it has ended, nor any after `end`.
 * Leaves what a round does, and how long the pauses are, to whoever made it.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Rounds = void 0;
class Rounds {
    round;
    pauseMs;
    timer;
    isGoing = false;
    ended = false;
    constructor(round, pauseMs) {
        this.round = round;
        this.pauseMs = pauseMs;
        this.hurry();
    }
    /** Has the next round begin at once, unless one is going. */
    hurry() {
        this.schedule(0);
    }
    end() {
        this.ended = true;
        clearTimeout(this.timer);
    }
    schedule(delayMs) {
        clearTimeout(this.timer);
        if (!this.ended) {
            this.timer = setTimeout(() => void this.go(), delayMs);
        }
    }
    async go() {
        if (this.isGoing) {
            return; // which says when the next one begins
        }
        this.isGoing = true;
        try {
            await this.round();
        }
        finally {
            this.isGoing = false;
            this.schedule(this.pauseMs());
        }
    }
}
exports.Rounds = Rounds;
