"""What is shown may be read by anybody: taking paths out of words that came from elsewhere.

Owns what looks like a path in a sentence.
Promises to take rather too much: a path may have spaces, quotes and line ends in it.
Leaves to whoever knows them the words that are private without being a path.
"""

import re
from typing import Final

#: A path in a sentence, up to where that goes on, or to its end.
_PATH: Final = re.compile(r"(?<!\w)(?:unix:)?~?/(?=\S).*?(?=[.,;:)]+(?:\s|$)| \(|$)", re.DOTALL)


def without_paths(text: str) -> str:
    """Return a sentence with ``<path>`` for every path in it."""
    return _PATH.sub("<path>", text)
