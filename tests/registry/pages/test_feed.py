"""The feed is XML, whatever a card says."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import example, given
from hypothesis import strategies as st

from embhub_registry.pages.lists import feed
from embhub_registry.pages.lists.list_facts import ListPage

ATOM = "{http://www.w3.org/2005/Atom}"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@example("\ufffe\uffff\x00\x0b")
def test_every_title_leaves_it_well_formed(text: str) -> None:
    page = ListPage(
        registry=text,
        text="",
        chosen=(),
        sort="modified",
        sorts=(),
        total=0,
        more=False,
        items=(),
        facets=(),
        next=None,
    )
    written = feed.compose(page, url="https://hub.example.org", address="/feed.atom")
    root = ElementTree.fromstring(written.encode())
    title = str(root.findtext(f"{ATOM}title"))
    assert title.endswith(": all embeddings") and not root.findall(f"{ATOM}entry")
