"""The command line: one file per verb.

Owns the escape of foreign text, and how wide anything is at most, which every file here needs.
Promises to import nothing, so that the program starts quickly.
Leaves commands, options and rendering to the files of this package.
"""

#: Columns of a terminal; what is wider is hard to read and to paste.
MAX_WIDTH = 80


def visible(text: str) -> str:
    r"""Show what does not print as an escape (``\x1b``, ``\n``): it must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
