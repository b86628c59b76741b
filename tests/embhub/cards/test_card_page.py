"""`embhub card edit`: the form in a browser writes what is an answer, and nobody else may open it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.__main__ import main
from embhub.cards.answers import BY_PEOPLE, read, write
from embhub.cli.publish.card_page import CardServer
from embhub.diffusion.outputs import open_card, read_answers
from tests.support import browsers
from tests.support.releases import make_embedding
from tests.support.visitors import Visitor, serving

SITE = "site: {legal_basis: GDPR Art. 9, ethics_ref: waived}\n"
TYPED = {
    "authors": "Radiology, Example Hospital",
    "modality": "MR, CT",
    "anatomy": "RadLex RID343 prostate",
    "finding": "none",
    "labels": "reports; two radiologists",
    "deidentification": "113100, 113101; manual",
    "description": "A dark focus.\nTwo lines.",
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home/config").mkdir(parents=True, mode=0o700)
    (tmp_path / "home/config/config.yaml").write_text(SITE)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    path = tmp_path / "cspca.safetensors"
    path.write_bytes(make_embedding().data)
    return path


@pytest.fixture
def server(file: Path) -> Iterator[CardServer]:
    with serving(CardServer(open_card(file))) as running:
        yield running


@pytest.fixture
def visitor(server: CardServer) -> Visitor:
    visitor = Visitor(server)
    visitor.open()
    return visitor


def test_answers_are_written_and_what_is_none_is_said(server: CardServer, visitor: Visitor) -> None:
    card = server.drafted.path
    page = visitor.ask("/")[2].decode()
    assert "What to say" not in page and 'name="description"' in page and "legal_basis: GDPR Art. 9" in page
    assert visitor.ask("/save", {**TYPED, "modality": "XX", "confirm-legal_basis": "yes"})[0] == 303
    values = read_answers(card)
    assert values["description"] == "A dark focus.\nTwo lines." and values["finding"] == []
    assert values["anatomy"] == [{"system": "RadLex", "code": "RID343", "display": "prostate"}]
    assert values["confirm"] == ["ethics_ref"] and "modality" not in values
    page = visitor.ask("/")[2].decode()
    assert "Not taken: not a DICOM image modality" in page and 'value="XX"' in page, "as it was typed"
    assert visitor.ask("/save", {"modality": "XX", "finish": "yes"})[0] == 303
    assert not server.is_finished, "something was not taken"
    visitor.ask("/save", {"modality": "CT", "description": "Another one."})
    page = visitor.ask("/")[2].decode()
    assert "Not taken" not in page and 'value="RadLex RID343 prostate"' in page
    assert read_answers(card)["modality"] == ["CT"] and read_answers(card)["description"] == "Another one."


def test_words_are_offered_as_codes_and_taken_for_them(server: CardServer, visitor: Visitor) -> None:
    page = visitor.ask("/")[2].decode()
    assert 'list="anatomy-terms"' in page and '<option value="RadLex RID1243 thorax">chest</option>' in page
    visitor.ask("/save", {"anatomy": "Thorax", "finding": "pneumona"})
    assert read_answers(server.drafted.path)["anatomy"] == [
        {"system": "RadLex", "code": "RID1243", "display": "thorax"}
    ]
    page = visitor.ask("/")[2].decode()
    assert 'value="RadLex RID1243 thorax"' in page and "near are RID5350 pneumonia" in page


def test_what_caption_and_base_say_is_taken_where_a_person_ticks_it(file: Path) -> None:
    file.write_bytes(make_embedding(training={"caption": "axial prostate mri, {}"}).data)
    with serving(CardServer(open_card(file))) as server:
        visitor = Visitor(server)
        visitor.open()
        page = visitor.ask("/")[2].decode()
        assert "Caption and base say: MR." in page and 'name="take-view"' in page
        visitor.ask(
            "/save", {"modality": "", "view": "coronal", "anatomy": "", "take-modality": "yes", "take-view": "yes"}
        )
        values = read_answers(server.drafted.path)
        assert values["modality"] == ["MR"] and values["view"] == "coronal" and "anatomy" not in values
        assert "take-modality" not in visitor.ask("/")[2].decode()
    assert open_card(server.drafted.path).proposed.keys() == {"anatomy"}, "the card again, by its own name"


def test_a_browsers_line_ends_are_the_files(server: CardServer, visitor: Visitor) -> None:
    visitor.ask("/save", {"limitations": "One.\r\nTwo.\r\n"})
    assert read_answers(server.drafted.path)["limitations"] == "One.\nTwo."


@pytest.mark.parametrize("form", [{"token": "<b>"}, {"privacy": "none"}, {"audit": "x"}, {"confirm": "legal_basis"}])
def test_what_no_person_answers_is_left_alone(server: CardServer, visitor: Visitor, form: dict[str, str]) -> None:
    before = server.drafted.path.read_bytes()
    assert visitor.ask("/save", form)[0] == 303
    assert server.drafted.path.read_bytes() == before


def test_nobody_without_the_key_and_from_elsewhere(server: CardServer, visitor: Visitor) -> None:
    before = server.drafted.path.read_bytes()
    stranger = Visitor(server)
    assert stranger.ask("/")[0] == 403 and stranger.ask("/save", TYPED)[0] == 403
    assert visitor.ask("/save", TYPED, Origin="https://evil.example")[0] == 403
    assert visitor.ask("/", Host="evil.example")[0] == 421
    assert visitor.ask("/other")[0] == 404 and visitor.ask("/delete", TYPED)[0] == 400
    assert server.drafted.path.read_bytes() == before
    assert "script" not in visitor.ask("/")[1]["content-security-policy"]


@pytest.mark.parametrize("field", [field for field in BY_PEOPLE if field in TYPED])
def test_an_answer_can_be_typed_again(field: str) -> None:
    value = read(field, TYPED[field])
    words = write(field, value)
    assert words is not None and read(field, words) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("anatomy", [{"system": "local", "code": "1", "display": "a; b"}]), ("authors", ["Ward 3, Hospital"]),
        ("anatomy", [{"display": "no code"}]), ("labels", {"source": "x"}), ("description", 3),
    ],
)  # fmt: skip
def test_what_no_line_says_is_not_offered_to_be_changed(field: str, value: Any) -> None:
    assert write(field, value) is None


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["system", "code", "display", "source", "annotators", "profile"]), inner)
    ),
)


@given(field=st.sampled_from(BY_PEOPLE), value=VALUES)
def test_any_value_is_said_in_words_that_mean_it_or_not_at_all(field: str, value: Any) -> None:
    words = write(field, value)
    assert words is None or read(field, words) == value


def test_the_command_ends_when_the_page_says_so(file: Path, tmp_path: Path) -> None:
    """It starts no browser: every user of the machine sees a program's arguments, and so the key."""
    for program in ("xdg-open", "browser"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$@" > {shlex.quote(str(tmp_path / "seen"))}\n')
        (tmp_path / program).chmod(0o755)
    command = [sys.executable, "-m", "embhub", "card", "edit", str(file), "--json"]
    environment = {**os.environ, "EMBHUB_HOME": str(tmp_path / "home"), "BROWSER": str(tmp_path / "browser")}
    environment["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as running:
        assert running.stdout is not None
        address = json.loads("".join(iter(running.stdout.readline, "}\n")) + "}")["address"]
        person = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))
        page = person.open(address, timeout=30).read().decode()
        assert int(re.findall(r"<h2>(\d+) open questions", page)[0]) > 5
        form = urlencode({"description": "A dark focus.", "finish": "yes"}).encode()
        assert "has your answers" in person.open(address.partition("?")[0] + "save", form, timeout=30).read().decode()
        _, said = running.communicate(timeout=30)
    assert not (tmp_path / "seen").exists()
    assert running.returncode == 0 and "fill in: modality" in said and "fill in: description" not in said
    assert read_answers(file.with_name("cspca.card.yaml"))["description"] == "A dark focus."


def test_a_file_that_is_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", "edit", str(tmp_path / "none.card.yaml")]) == 3
    assert "is no card" in capsys.readouterr().err


@pytest.mark.thorough
def test_the_form_in_a_browser(server: CardServer) -> None:
    """Under the policy, on a narrow screen, light and dark; every rule of axe where it is at hand."""
    said: list[str] = []
    rules: list[tuple[str, list[str]]] = []
    with browsers.chromium() as browser:
        page = browsers.new_page(browser, said, viewport={"width": 390, "height": 844})
        page.goto(server.url)
        page.get_by_label("modality").fill("XX")
        page.get_by_label("legal_basis: GDPR Art. 9").check()
        browsers.follow(page.get_by_role("button", name="Save", exact=True).first)
        assert page.get_by_role("alert").count() == 1 and page.get_by_label("modality").input_value() == "XX"
        for scheme in ("dark", "light"):
            browsers.keep_pictures(page, "card-edit", scheme=scheme)
            page.set_viewport_size({"width": 390, "height": 844})
            page.emulate_media(color_scheme=scheme)
            assert browsers.width_of(page) <= 390
            rules += browsers.broken_rules(page, least=6)
        page.get_by_label("modality").fill("MR")
        browsers.follow(page.get_by_role("button", name="Save and finish").first)
        assert page.get_by_role("heading", name="Saved").count() == 1
    assert said == [] and rules == []
    assert read_answers(server.drafted.path)["modality"] == ["MR"]
