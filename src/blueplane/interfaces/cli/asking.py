"""The question before something that cannot be undone.

Owns how it is asked, and what counts as a no.
Promises that only a yes goes on, and that what is said next begins on a line of its own.
Leaves the words to the commands.
"""

import click


def confirm(question: str) -> None:
    """Ask on standard error; raise click.Abort unless the answer is yes."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:  # Ctrl-C or the end of the input: no line was ended
        click.echo(err=True)
        raise
    if not agreed:
        raise click.Abort
