"""What was probably meant by a word that is none of those there are.

Owns the hint at the end of an error, and the error for a word that is none of an option's.
Promises one word, the nearest, or what else helps.
Leaves the rest of the sentence to the commands.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

import click


def hint(said: str, names: Collection[str], otherwise: str) -> str:
    """Ask whether the nearest of some names was meant; ``otherwise`` where none is near."""
    close = get_close_matches(said, names, n=1)
    return f"did you mean {close[0]}?" if close else otherwise


class OneOf(click.Choice[str]):
    """One of some words; the error for any other names the nearest."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401 - the same
        """Return the word; raise click's BadParameter for what is none of them."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            words = [str(each) for each in self.choices]
            there = hint(str(value), words, f"there are {', '.join(words)}")
            self.fail(f"{value!r} is none of them; {there}", param, ctx)
