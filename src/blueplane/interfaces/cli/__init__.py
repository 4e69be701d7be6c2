"""The command line: one file per verb.

Owns the escape of foreign text, which every file here needs.
Promises to import nothing, so that the program starts quickly.
Leaves commands, options and rendering to the files of this package.
"""


def visible(text: str) -> str:
    r"""Show what does not print as an escape (``\x1b``, ``\n``): it must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
