"""`/feed.atom`: what was published, newest first, for feed readers (Atom, RFC 4287); it takes the list's filters."""

from __future__ import annotations

from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from embhub_registry.database.clock import stamp
from embhub_registry.pages.lists.list_facts import Item, ListPage

PATH = "/feed.atom"


def compose(page: ListPage, *, url: str, address: str) -> str:
    """Write the feed of a list; `address` is the feed's own, relative to `url`. A new version is a new entry."""
    listed = [item for item in page.items if item.release]
    updated = max((item.modified for item in listed), default=stamp())
    narrowed = ", ".join([*([page.text] if page.text else []), *(value.label for value in page.chosen)])
    title = f"{page.registry}: {narrowed or 'all embeddings'}"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{_text(url + address)}</id><title>{_text(title)}</title><updated>{updated}</updated>",
        f"<link rel={quoteattr('self')} href={quoteattr(url + address)}/><link rel={quoteattr('alternate')}"
        f" href={quoteattr(url + '/')}/>",
        f"<author><name>{_text(page.registry)}</name></author>",
        *(_entry(item, url) for item in listed),
        "</feed>",
    ]
    return "\n".join(lines) + "\n"


def _entry(item: Item, url: str) -> str:
    assert item.release is not None  # noqa: S101  # what was never published is left out above
    release, address = item.release, f"{url}/{quote(item.id)}"
    said = f"{release.description} Audit: {release.audit}. Privacy: {release.claim or 'no guarantee'}."
    return (
        f"<entry><id>{_text(f'{address}#{release.version}')}</id><title>{_text(f'{item.id} {release.version}')}</title>"
        f"<updated>{item.modified}</updated><link href={quoteattr(address)}/>"
        f"<author><name>{_text(item.member)}</name></author><summary>{_text(said)}</summary></entry>"
    )


def _text(text: str) -> str:
    """Escaped; without what XML 1.0 has no place for, which would end every reader of the feed."""
    return escape("".join(c for c in text if c in "\t\n\r" or (ord(c) >= 0x20 and c not in "\ufffe\uffff")))
