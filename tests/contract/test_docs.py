"""The documentation names everything that a user can type or set."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from blueplane.config import SETTINGS
from blueplane.interfaces.cli.main import COMMANDS, blueplane
from helpers.build_verbs import build_verbs

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
README = ROOT / "README.md"
#: What tells people what to type.
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.name for page in PAGES]
#: Code: between backticks, or a line that is indented by four spaces.
CODE = re.compile(r"`([^`\n]+)`|^ {4,}(\S.*)$", re.MULTILINE)
#: The program by any of its names, at the start of a command, and what is typed after it.
OURS = re.compile(
    r"(?:^|[;&|=\"(] ?|\bsh )(?:[\w.~/*<>-]*/)?"
    r"blueplane(?!-hook)(?:-[\w.*<>-]+)?(?P<words>(?: +(?!#)[^\s;&|\"]+)+)"
)
BUILD = re.compile(r"build\.py(?P<words>(?: +[^\s;&|#]+)+)")
MODULE = re.compile(r"`([\w/]+\.py)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all beneath it, each with what a user types for it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            beneath = command.get_command(context, name)
            assert beneath is not None
            yield from commands(f"{path} {name}", beneath)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_and_is_documented_when_listed(name: str) -> None:
    """Every command, and every one beneath it, has help and is in the README or OPERATIONS."""
    # Given the command, and what a user can read
    command = blueplane.get_command(click.Context(blueplane), name)
    assert command is not None
    text = README.read_text() + OPERATIONS.read_text()

    # When everything that can be typed is collected
    found = dict(commands(f"blueplane {name}", command))

    # Then
    assert [path for path, each in found.items() if not each.help] == []
    assert [path for path in found if path not in text] == []


def test_operations_documents_every_setting_when_one_is_added() -> None:
    """Every configuration key is in docs/OPERATIONS.md."""
    # Given
    text = OPERATIONS.read_text()

    # When
    missing = [setting.key for setting in SETTINGS if f"`{setting.key}`" not in text]

    # Then
    assert missing == []


@pytest.mark.parametrize("command", ["python3 build.py run", "python3 build.py test"])
def test_readme_names_the_command_when_somebody_has_just_cloned(command: str) -> None:
    """The README says how to start the program and how to test it."""
    # Given / When
    text = README.read_text()

    # Then
    assert command in text


# --- what can be typed ----------------------------------------------------------------------------


def code_of(page: Path) -> list[str]:
    """Return every piece of code of a page."""
    return [span or line for span, line in CODE.findall(page.read_text())]


def wrong_words(words: list[str]) -> list[str]:
    """Return what of a command line of ours is no command, and no option of that command."""
    command: click.Command = blueplane
    for index, word in enumerate(words):
        if not isinstance(command, click.Group) or not re.fullmatch(r"[a-z]+", word):
            break
        beneath = command.commands.get(word) if command is not blueplane else None
        if word in COMMANDS and command is blueplane:
            beneath = blueplane.get_command(click.Context(blueplane), word)
        if beneath is None:
            return [] if index else [word]
        command = beneath
    known = {name for each in command.params for name in each.opts} | {"--help", "-h", "--debug"}
    known |= {"--version"} if command is blueplane else set()
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist_when_a_page_names_them(page: Path) -> None:
    """Each command line of ours on a page is of commands and options that there are."""
    # Given
    found = [each["words"].split() for code in code_of(page) for each in OURS.finditer(code)]
    # When
    wrong = {" ".join(words): wrong_words(words) for words in found}
    # Then
    assert {line: words for line, words in wrong.items() if words} == {}
    assert found or page.name in {"ARCHITECTURE.md", "METRICS.md", "CONTRIBUTING.md"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_verbs_exist_when_a_page_names_them(page: Path) -> None:
    """Each verb of build.py on a page is one of its verbs."""
    # Given
    found = [each["words"].split() for code in code_of(page) for each in BUILD.finditer(code)]
    # When
    verbs = {words[0] for words in found}
    # Then
    assert verbs - build_verbs().keys() - {"VERB"} == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere_when_a_page_has_them(page: Path) -> None:
    """Each link to a file or a heading of ours leads to one."""
    # Given
    links = LINK.findall(page.read_text())
    # When
    dead = [
        (path, heading)
        for path, heading in links
        if not (page.parent / path).exists()
        or (heading and heading not in headings(page.parent / path if path else page))
    ]
    # Then
    assert dead == []


def package_files() -> list[Path]:
    """Return every module of the program."""
    return sorted((ROOT / "src" / "blueplane").rglob("*.py"))


def test_modules_exist_when_a_docstring_names_them() -> None:
    """A docstring names a module from its own directory, the one above, or the package."""
    # Given
    package = ROOT / "src" / "blueplane"

    # When
    lost = [
        f"{file.relative_to(package)}: {name}"
        for file in package_files()
        for name in MODULE.findall(ast.get_docstring(ast.parse(file.read_text())) or "")
        if not any((place / name).exists() for place in (*file.parents[:2], package, ROOT))
    ]

    # Then
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_modules_exist_when_a_page_names_them(page: Path) -> None:
    """A page names no file of Python that is not there."""
    # Given
    places = ("benchmarks", "packaging", "scripts", "src", "tests")
    files = [path for place in places for path in (ROOT / place).rglob("*.py")]
    known = [f"/{path.relative_to(ROOT)}" for path in [*files, *ROOT.glob("*.py")]]

    # When
    named = MODULE.findall(page.read_text())

    # Then
    assert [name for name in named if not any(each.endswith(f"/{name}") for each in known)] == []


def headings(page: Path) -> set[str]:
    """Return the headings of a page as links name them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_variables_exist_when_a_page_names_them() -> None:
    """Each BLUEPLANE_ variable on a page is a setting, or read by something in the checkout."""
    # Given
    python = [path for name in ("src", "tests") for path in (ROOT / name).rglob("*.py")]
    sources = [*python, *(ROOT / "hooks").iterdir(), ROOT / "compose.yaml"]
    text = "".join(path.read_text() for path in sources if path.is_file())
    settings = {setting.variable for setting in SETTINGS}
    # When
    named = {name for page in PAGES for name in re.findall(r"BLUEPLANE_[A-Z_]+", page.read_text())}
    # Then
    assert {name for name in named - settings if name not in text} == set()


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("blueplane instal", ["instal"]),
        ("sh blueplane-*-linux-x86_64 install --yse", ["--yse"]),
        ("~/.local/bin/blueplane install servise --only cursor", []),
        (".venv/bin/blueplane doctor --fix", []),
        ("blueplane config get --jason", ["--jason"]),
        ('"postStartCommand": "~/.local/bin/blueplane strat"', ["strat"]),
    ],
)
def test_check_bites_when_a_command_drifts(code: str, wrong: list[str]) -> None:
    """The check above finds commands and options that are not there."""
    # Given / When
    found = [wrong_words(each["words"].split()) for each in OURS.finditer(code)]
    # Then
    assert found == [wrong]
