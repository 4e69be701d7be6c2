"""Make ``docs/screens``: what each command shows, as text and as a picture, of invented data.

``python scripts/make_screens.py`` writes them; a test says when they are not what is shown.
"""

import re
import sys
import tempfile
from io import StringIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

from helpers.screens import COLUMNS, plain, stage, there

PLACE = Path(__file__).resolve().parents[1] / "docs" / "screens"
#: Without fonts of the web: who looks at a picture tells nobody.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def picture(name: str, words: str, drawn: str) -> str:
    """Return a screen as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(drawn.rstrip()))
    return console.export_svg(title=f"blueplane {words}", code_format=FORMAT, unique_id=name)


def make() -> None:
    """Write all screens anew, and no others."""
    PLACE.mkdir(exist_ok=True)
    for path in PLACE.iterdir():
        path.unlink()
    with tempfile.TemporaryDirectory() as directory, stage(Path(directory)) as shown:
        for name, words in there().items():
            drawn = shown.show(words)
            text = f"$ blueplane {words}\n{plain(drawn)}"
            (PLACE / f"{name}.txt").write_text(text)
            (PLACE / f"{name}.svg").write_text(picture(name, words, drawn))
            print(text)


if __name__ == "__main__":
    make()
