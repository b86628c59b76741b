"""No pattern takes a time that grows faster than its text: measured on texts made to be taken apart again and again."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

import embhub
import embhub_registry
from embhub.cards import personal_data
from embhub_registry.admission import listing
from embhub_registry.people import personal_data as persons
from tests.support.quick import quick

Text = TypeVar("Text", str, bytes)

UNITS = [
    *("a", "A", "0", "1", ".", " ", "-", "@", "^", "+", "\n", "\t", "é", "'", '"', "\\", "/", ":", "_", "<", "%", "|"),
    *("a.", "a@", "a-", "a b ", "1.", "0.", "a^", "A'", "Aa-", "1-", "Ab ", "John ", "John, ", "born ", "1.1.1950 "),
    *("born 1", "mrn 0", "patient no ", "patient 0", "tel ", "+1 (2", "1.2.840.1.", "000 ", "Dr. ", "Hospital "),
    *(
        "0" * 8 + "x",
        "https://a",
        "SHA256:",
        "f" * 31 + " ",
        "---\n",
        "\\u",
        "[{",
        ":,",
        '"a',
        "\r\n",
        "-a",
        "a_",
        "no id ",
    ),
]
SEARCHING = ("personal_data", "logs")  # what looks for something anywhere in a text
SMALL, LARGE = 1_000, 8_000
SUSPECT = 0.03  # seconds; below it a text of this length is no matter
STEEPEST = 16.0  # for eight times the text; linear is 8, square 64


def modules() -> Iterator[Any]:
    """Every module of both packages that needs no torch."""
    for package in (embhub, embhub_registry):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(("embhub.diffusion", "embhub.cli")) and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Compiled patterns at the top of those modules, alone or in tuples and mappings."""
    found: dict[str, re.Pattern[Any]] = {}

    def look(name: str, value: Any) -> None:
        if isinstance(value, re.Pattern):
            found[name] = value
        elif isinstance(value, tuple | list):
            for number, item in enumerate(value[:100]):
                look(f"{name}[{number}]", item)
        elif isinstance(value, dict):
            for key, item in itertools.islice(value.items(), 100):
                look(f"{name}[{str(key)[:30]}]", item)

    for module in modules():
        for name, value in vars(module).items():
            if not name.startswith("__"):
                look(f"{module.__name__}.{name}", value)
    return found


PATTERNS = patterns()


def seconds(work: Callable[[Any], Any], text: Any) -> float:
    started = time.process_time()
    work(text)
    return time.process_time() - started


def repeated(unit: Text, *, after: Text | None = None) -> Callable[[int], Text]:
    """What makes a text of about a given size that is one unit over and over, `after` something else."""
    return lambda size: (unit[:0] if after is None else after) + unit * (size // len(unit))


def check(work: Callable[[Any], Any], make: Callable[[int], Any], *, suspect: float = SUSPECT) -> None:
    """Fail where eight times the text takes far more than eight times as long, three times out of three."""
    large = make(LARGE)
    if seconds(work, large) < suspect:
        return
    small = make(SMALL)
    ratio = min(seconds(work, large) / max(seconds(work, small), 1e-4) for _ in range(3))
    assert ratio < STEEPEST, f"{large[:60]!r}… takes {ratio:.0f} times as long for eight times the text"


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) > 40
    assert any("personal_data" in name for name in PATTERNS) and any("registry" in name for name in PATTERNS)


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name: str) -> None:
    pattern = PATTERNS[name]
    as_bytes = isinstance(pattern.pattern, bytes)
    for unit in UNITS:

        def make(size: int, unit: str = unit) -> Any:
            text = unit * (size // len(unit)) + "!"
            return text.encode() if as_bytes else text

        check(pattern.fullmatch, make)
        check(pattern.match, make)
        if any(module in name for module in SEARCHING):
            check(lambda text: sum(1 for _ in pattern.finditer(text)), make)


@pytest.mark.parametrize(
    "work",
    quick(
        [personal_data.personal_data, persons.find_in_words],
        thorough=[personal_data.looks_like_patient, persons.find_in_name],
    ),
    ids=lambda work: work.__name__,
)
def test_the_search_for_persons(work: Callable[[str], Any]) -> None:
    for unit in UNITS:
        check(work, repeated(unit), suspect=0.1)


def test_front_matter_that_never_ends() -> None:
    for unit in (b"\n", b"---", b"\n--- ", b"-\n", b"a\n---x"):
        check(listing.front_matter, repeated(unit, after=b"---\n"))


@pytest.mark.thorough
def test_a_pattern_that_goes_back_is_caught() -> None:
    with pytest.raises(AssertionError, match="times as long"):
        check(re.compile("(?:a|b)*a*a*!").fullmatch, lambda size: "a" * (size // 8))
