"""docs/reference/hub-conformance.md names the calls that the suite makes, all of them and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conformance import page
from tests.conformance.driver.listed import CALLS, GROUPS
from tests.conformance.environments import CLIENTS
from tests.conformance.playing import Played

PAGE = (Path(__file__).parents[2] / "docs/reference/hub-conformance.md").read_text()
ROW = re.compile(r"^\| (?!calls |---)(.+?) \| (as asked|`\w+`(?:, \d+)?)(?:: .+)? \|$", re.M)


def test_the_page_is_what_these_calls_give_with_the_clients_that_it_names() -> None:
    versions = re.findall(r"^\| calls \| give in (.+) \|$", PAGE, re.M)
    assert len(versions) == len(GROUPS) and len(set(versions)) == 1
    names = versions[0].split(" / ")
    assert len(names) == len(CLIENTS)
    played = {client: _as_expected(version) for client, version in zip(CLIENTS, names, strict=True)}
    assert page.render(played).strip() == PAGE.strip()


def test_it_names_every_call_once() -> None:
    named = [name for row in ROW.findall(PAGE.split("## `@hugging")[0]) for name in row[0].split("; ")]
    assert sorted(named) == sorted(wanted.name for wanted in CALLS)


def test_its_versions_are_of_the_clients_that_are_tested() -> None:
    names = re.findall(r"^\| calls \| give in (.+) \|$", PAGE, re.M)[0].split(" / ")
    for client, version in zip(CLIENTS, names, strict=True):
        assert version.startswith(f"{client.removesuffix('.x')}."), version


def _as_expected(version: str) -> Played:
    """A client of this version with which every call gives what it must."""
    major = int(version.split(".")[0])
    outcomes = {
        w.name: {"absent": w.why} if major < w.since
        else {"value": w.gives} if w.raises is None
        else {"raised": [w.raises], "status": w.status, "said": w.says}
        for w in CALLS
    }  # fmt: skip
    return Played(version, outcomes)
