"""The list of survivors names mutants that exist, and mutants differ from their file in one place."""

from __future__ import annotations

import ast
import tomllib

import pytest

from tests.mutants.mutations import mutants
from tests.mutants.run import NEAREST, ROOT, SURVIVORS

LISTED = tomllib.loads(SURVIVORS.read_text())


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("if a < 1: pass", {"if not a < 1:", "if a <= 1:", "if a < 2:"}),
        ("if a == b and not c: pass", {"if not (a == b and (not c)):", "if a == b or not c:", "if a != b and (not c):",
                                       "if a == b and c:"}),
        ("def f():\n    if a is None:\n        return True\n    raise E\n    return x - y",
         {"    if a is not None:", "        pass", "        return False", "    pass", "    return x + y"}),
        ("check(a)\nx = f'{a + 1}'\n@slots(True)\ndef g(a: Annotated[int, 3]) -> None:\n    'Says 3.'", {"pass"}),
    ],
)  # fmt: skip
def test_each_changes_one_line(source: str, changed: set[str]) -> None:
    before = ast.unparse(ast.parse(source)).splitlines()
    made = [mutant.source.splitlines() for mutant in mutants(source)]
    lines = [{new for old, new in zip(before, after, strict=True) if old != new} for after in made]
    assert all(len(line) == 1 for line in lines) and set().union(*lines) == changed


def test_fourteen_files_and_their_tests_are_there() -> None:
    tests = {f"tests/{test}" for nearest in NEAREST.values() for test in nearest}
    assert len(NEAREST) == 14 and [path for path in {*NEAREST, *tests} if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("file", LISTED)
def test_what_is_listed_is_a_mutant_with_a_reason(file: str) -> None:
    names = [mutant.name for mutant in mutants((ROOT / file).read_text())]
    assert file in NEAREST and len(names) == len(set(names))
    assert LISTED[file].keys() <= set(names) and all(LISTED[file].values())
