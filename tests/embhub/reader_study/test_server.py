"""A whole study over HTTP, who is let in, and the pages in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.errors import UsageError
from embhub.reader_study import ratings
from embhub.reader_study.result import compute
from embhub.reader_study.server import StudyServer, order
from embhub.reader_study.study import Study, case_file
from tests.support import browsers
from tests.support.visitors import Visitor, serving


@pytest.fixture
def server(prepared: tuple[Path, Study]) -> Iterator[StudyServer]:
    with serving(StudyServer(prepared[0])) as running:
        yield running


class Participant(Visitor):
    """Who rates."""

    def enter(self, role: str = "radiologist") -> None:
        self.open()
        assert self.ask("/begin", {"role": role})[0] == 303


@pytest.fixture
def visitor(server: StudyServer) -> Participant:
    return Participant(server)


def test_a_study_from_the_first_page_to_the_result(
    prepared: tuple[Path, Study], server: StudyServer, visitor: Participant
) -> None:
    folder, study = prepared
    kinds = {case.name: case.kind for case in study.cases}
    visitor.enter()
    seen = []
    for number in range(1, len(study.cases) + 1):
        page = visitor.ask("/")[2].decode()
        (case,) = re.findall(r'src="/cases/([0-9a-f]{16})\.png"', page)
        assert f"Image {number} of 20" in page and "generated" not in page.split("<fieldset>")[0]
        assert visitor.ask(f"/cases/{case}.png")[2] == case_file(folder, case).read_bytes()
        answer = {"case": case, "origin": "5" if kinds[case] == "generated" else "1", "finding": "no"}
        assert visitor.ask("/rate", answer)[0] == 303
        seen.append(case)
    assert "You have rated all 20 images" in visitor.ask("/")[2].decode()
    assert sorted(seen) == sorted(kinds) and compute(folder)[0].separation.value == 1


def test_readers_get_orders_of_their_own(prepared: tuple[Path, Study]) -> None:
    study = prepared[1]
    first, second = order(study, "a" * 16), order(study, "b" * 16)
    assert first != second and sorted(first) == sorted(second) and first == order(study, "a" * 16)


def test_without_the_key_nothing_is_shown(prepared: tuple[Path, Study], visitor: Participant) -> None:
    case = prepared[1].cases[0].name
    for path in ("/", f"/cases/{case}.png", "/?key=", "/?key=wrong", "/study.json", "/?key=%C3%A9"):
        assert visitor.ask(path)[0] == 403
    assert visitor.ask("/begin", {"role": "radiologist"})[0] == 403
    assert ratings.read(*prepared).roles == {}


def test_other_host_names_and_other_pages_are_turned_away(server: StudyServer, visitor: Participant) -> None:
    """DNS rebinding, and a form on another page."""
    visitor.enter()
    assert visitor.ask("/", Host=f"evil.example:{server.server_port}")[0] == 421
    assert visitor.ask("/begin", {"role": "other"}, Origin="https://evil.example")[0] == 403
    assert visitor.ask("/begin", {"role": "other"}, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    _, headers, _ = visitor.ask("/")
    assert "script-src" not in headers["content-security-policy"] and headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "form",
    [
        {}, {"case": "0" * 16, "origin": "1", "finding": "yes"}, {"case": "REAL", "origin": "6", "finding": "yes"},
        {"case": "REAL", "origin": "x", "finding": "yes"}, {"case": "REAL", "origin": "1"},
        {"case": "REAL", "origin": "1", "finding": "maybe"}, {"case": "é" * 900, "origin": "1", "finding": "yes"},
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_not_stored(
    prepared: tuple[Path, Study], visitor: Participant, form: dict[str, str]
) -> None:
    folder, study = prepared
    visitor.enter()
    real = {name: value.replace("REAL", study.cases[0].name) for name, value in form.items()}
    assert visitor.ask("/rate", real)[0] == 400
    assert not any(ratings.read(folder, study).ratings.values())


def test_a_path_leads_out_of_the_folder_nowhere(visitor: Participant) -> None:
    visitor.enter()
    for path in ("/cases/../study.json", "/study.json", "/ratings.jsonl", "/cases/%2e%2e/study.json", "/cases/"):
        assert visitor.ask(path)[0] == 404


def test_a_port_that_is_taken(server: StudyServer) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        StudyServer(server.folder, port=server.server_port)


def look(page: Any, name: str) -> list[tuple[str, list[str]]]:
    """Rules of axe that the page breaks, light and dark; it fits a narrow screen."""
    found = []
    for scheme in ("dark", "light"):
        browsers.keep_pictures(page, name, scheme=scheme)
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme=scheme)
        assert browsers.width_of(page) <= 390
        found += browsers.broken_rules(page, least=6)
    return found


@pytest.mark.thorough
def test_a_reader_in_a_browser(prepared: tuple[Path, Study], server: StudyServer) -> None:
    """By the keyboard, under the policy, on a narrow screen; every rule of axe where it is at hand."""
    said: list[str] = []
    with browsers.chromium() as browser:
        page = browsers.new_page(browser, said, viewport={"width": 390, "height": 844})
        page.goto(server.url)
        assert "key=" not in page.url
        rules = look(page, "study-begin")
        page.get_by_label("technologist").check()
        browsers.follow(page.get_by_role("button", name="Begin"))
        rules += look(page, "study-case")
        for _ in prepared[1].cases:
            assert page.locator("img.case").evaluate("image => image.complete && image.naturalWidth") == 64
            page.get_by_label("probably generated").check()
            page.get_by_label("yes").focus()
            page.keyboard.press("Space")
            with page.expect_navigation():
                page.keyboard.press("Enter")
        rules += look(page, "study-done")
        assert page.get_by_role("heading", name="Finished").count() == 1
    assert said == [] and rules == []
    assert compute(prepared[0])[0].readers == {"technologist": 1}
