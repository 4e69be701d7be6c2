"""The owed rows of the fault matrix.

Owns the check that each ID in ``fault_ids.txt`` is carried by a test.
Promises to read the sources only, so that a test that is skipped or cannot be imported counts.
Leaves whether these tests pass to ``pytest --fault-report``.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
OWED = (TESTS / "contract" / "fault_ids.txt").read_text().split()


def marked(source: str) -> set[str]:
    """Return the IDs in every ``pytest.mark.fault("ID", ...)`` of ``source``."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {
        argument.value
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_fault_ids_all_have_a_test_when_owed() -> None:
    """Every row of the fault matrix that is owed by now is carried by at least one test."""
    # Given the sources of all tests
    carried = set().union(*(marked(path.read_text()) for path in TESTS.rglob("test_*.py")))
    # When the owed IDs without a test are listed
    missing = [fault for fault in OWED if fault not in carried]
    # Then there are none
    assert missing == []


def test_fault_ids_are_rows_of_the_matrix_when_listed() -> None:
    """The list names each row once, by section letter and number."""
    # Given the list / When it is compared with its own distinct, well-formed entries
    well_formed = [fault for fault in OWED if re.fullmatch(r"[A-G][1-9]\d?", fault)]
    # Then nothing is left over
    assert well_formed == OWED
    assert len(OWED) == len(set(OWED))


def test_fault_ids_are_found_when_they_mark_a_test_or_a_module() -> None:
    """The reader sees decorators, module marks and several IDs, and nothing in plain text."""
    # Given a source with marks in three places, and one only in a comment
    source = """
pytestmark = pytest.mark.fault("A1")

@pytest.mark.fault("B2", "B3")
def test_one(): ...

class TestTwo:
    @pytest.mark.fault("C4")
    def test_two(self): ...

# pytest.mark.fault("D5")
"""
    # When it is read / Then exactly the real marks are found
    assert marked(source) == {"A1", "B2", "B3", "C4"}
