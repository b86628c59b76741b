"""Whatever text a report, a card or a file name brings along, it stays text on every page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from embhub.audits import audit_page
from embhub.audits.report import Suite
from embhub.copies import page as copy_page
from embhub.evidence import page as evidence_page
from embhub.evidence.document import Evidence
from embhub.evidence.pack import write_pack
from embhub.pages.rendering import _HIDDEN
from embhub.privacy.claim import Claim
from tests.embhub.cards.test_evaluation import report as make_evaluation
from tests.embhub.copies.test_report import make as make_check
from tests.support.claims import make_claim
from tests.support.packs import NOW, make_report, make_site
from tests.support.quick import examples
from tests.support.releases import make_embedding

CHOSEN = {"verdict", "suite", "unit", "kind", "subject", "status", "schema_", "order", "outcome", "mechanism"}
"""Fields with a closed set of values, which code compares."""
ATTACKS = (
    "<script>alert(1)</script>", '"', "'", "&", "&lt;", "</style>", "</title>", "<!--", "]]>", "<img src=x onerror=a>",
    "{{ 7 * 7 }}", "{% if %}", "{# #}", "\u202e", "\u2066", "\u200f", "\x00", "\x1b[2J", "\r\n", "$x$", "_", "é漢", " ",
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(ATTACKS), min_size=1, max_size=6).map("".join) | st.text(min_size=1, max_size=30)


class Structure(HTMLParser):
    """Tags with their attributes' names, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment",))

    def handle_data(self, data: str) -> None:
        self.text += data


def poison(value: Any, text: str) -> Any:
    """The same value with `text` behind every string in it."""
    if isinstance(value, BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields if name not in CHOSEN}
        return value.model_copy(update={name: poison(each, text) for name, each in fields.items()})
    if isinstance(value, dict):
        return {key: each if key in CHOSEN else poison(each, text) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(poison(each, text) for each in value) if type(value) in (tuple, list) else value
    return value + text if isinstance(value, str) and value else value


@cache
def gather(private: bool) -> tuple[Evidence, Any]:
    """The facts of a pack and the report that they are about."""
    suite: Suite = "mechanism" if private else "standard"
    claim: Claim = make_claim() if private else "none"
    with TemporaryDirectory() as folder:
        made = write_pack(make_site(Path(folder), suite, claim=claim), Path(folder) / "pack", now=NOW)
    return made, make_report(make_embedding(privacy=claim), suite)


def show_audit(text: str) -> str:
    report = make_report(make_embedding(), "quick")
    return audit_page.render(poison(report, text), title=f"x{text}", contradictions=(f"x{text}",))


def show_pack(text: str, *, private: bool = False) -> str:
    evidence, report = gather(private)
    return evidence_page.render(poison(evidence, text), poison(report, text))


def show_private_pack(text: str) -> str:
    return show_pack(text, private=True)


def show_check(text: str) -> str:
    pairs = [(f"data:{text}", f"data:{text}")]
    poisoned = poison(make_check(caught=17), text)
    return copy_page.render(poisoned, title=f"x{text}", pairs=pairs)


def show_evaluation(text: str) -> str:
    from embhub.diffusion.evaluation import page

    return page.render(poison(make_evaluation(), text))


@pytest.mark.parametrize("show", [show_audit, show_pack, show_private_pack, show_check, show_evaluation])
@settings(max_examples=examples(8), deadline=None)
@given(text=HOSTILE)
def test_hostile_text_changes_no_tag_and_is_shown(show: Callable[[str], str], text: str) -> None:
    clean, page = Structure(show("x")), show(text)
    shown = Structure(page)
    assert shown.tags == clean.tags
    assert _HIDDEN.sub("\ufffd", text) in shown.text
    assert not _HIDDEN.search(page)


def test_a_fact_that_is_missing_is_an_error() -> None:
    import jinja2

    from embhub.pages import rendering

    with pytest.raises(jinja2.UndefinedError):
        rendering.render("embhub.copies", "copies.html.j2")


def test_no_page_reaches_outside_or_runs_a_script() -> None:
    for show in (show_audit, show_pack, show_private_pack, show_check, show_evaluation):
        page = show("x").replace("http://www.w3.org/2000/svg", "")
        shown = Structure(page)
        assert not {"script", "link", "iframe", "object", "form"} & {tag[0] for tag in shown.tags}
        assert not any(word in page for word in ("http:", "https:", "@import", "url("))
        assert "prefers-color-scheme:dark" in page and "@media print" in page
