"""`repr` and the notebook's view of what `verify` and `pull` return: short, and nothing in it is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from embhub.refusals import Finding
from embhub.release import verification
from embhub.release.checks.yanks import Yank
from embhub.release.verification import Verified
from tests.support.releases import NOW, make_embedding, make_release, make_trust

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class Tags(HTMLParser):
    """The tags and attributes of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def read(markup: str) -> Tags:
    tags = Tags()
    tags.feed(markup)
    return tags


@pytest.fixture
def verified() -> Verified:
    return verification.verify(make_release(), trust=make_trust(), now=NOW)


def test_one_line(verified: Verified) -> None:
    text = repr(verified)
    assert len(text) < 400 and "\n" not in text
    assert text.startswith("<Verified radboud/prostate-cspca 1.0.0: <cspca> for builtin; signed by radboud; audit ")
    assert "privacy none" in text and verified.audit_in_words() in text
    assert re.search(r"\d+ checks, \d+ warnings>$", text)


def test_a_yank_comes_first(verified: Verified) -> None:
    yank = Yank.model_construct(revision="0" * 40, version="1.0.0", reason="labels", date="2026-11-20")
    assert "1.0.0: YANKED; " in repr(replace(verified, yanked=yank))


def test_an_embedding_in_one_line() -> None:
    made = make_embedding()
    assert repr(made) == f"<Embedding <cspca> for builtin: 8 x 32 float16 for text_encoder; sha256 {made.digest[:16]}…>"


def test_the_view_of_a_notebook(verified: Verified) -> None:
    markup = verified._repr_html_()
    assert len(markup) < 6000
    assert read(markup).found <= {"div", "p", "b", "table", "tr", "th", "td", "details", "summary", "ul", "li"}
    for words in ("radboud/prostate-cspca 1.0.0", "&lt;cspca&gt;", "builtin", "CC-BY-4.0", "research"):
        assert words in markup, words


def test_what_a_publisher_wrote_is_escaped(verified: Verified) -> None:
    card = verified.card.model_copy(update={"description": EVIL, "licence": EVIL, "intended_use": "a\u202eb\x1b[31m"})
    findings = (*verified.findings, Finding("evil", "warning", EVIL))
    markup = replace(verified, card=card, findings=findings)._repr_html_()
    tags = read(markup)
    assert not tags.found & {"script", "img"} and tags.attributes <= {"style"}
    assert "\u202e" not in markup and "\x1b" not in markup
    assert markup.index("Warning, evil") < markup.index("<table>")
