"""How to cite a release: BibTeX, and the Citation File Format 1.2.0 (citation-file-format.github.io). Pure."""

from __future__ import annotations

import re

import yaml

from embhub.cards.card_schema import Card
from embhub_registry.pages.release.page_facts import Citation

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_SPDX = re.compile(r"(?!LicenseRef-)[A-Za-z0-9.+-]+")


def cite(card: Card, *, repository: str, signed: str, address: str, sha256: str, registry: str) -> Citation:
    """Cite one version; `signed` is the day of its signature, `address` the page of its commit, `sha256` the file's.

    The card is its publisher's word: what could end a field or begin a command of BibTeX is escaped.
    """
    kind = "compact adapter" if card.kind == "adapter" else "textual-inversion embedding"
    title = f"{repository} {card.version}: {kind} for {card.base_model.id}"
    return Citation(
        bibtex=_bibtex(card, title, repository, signed, address, sha256, registry),
        cff=_cff(card, title, signed, address, sha256),
    )


def _bibtex(card: Card, title: str, repository: str, signed: str, address: str, sha256: str, registry: str) -> str:
    key = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{repository}-{card.version}")
    fields = {
        "title": f"{{{escape(title)}}}",
        "author": " and ".join(f"{{{escape(author)}}}" for author in card.authors),
        "year": signed[:4],
        "month": signed[5:7].lstrip("0"),
        "version": escape(card.version),
        "publisher": escape(card.publisher),
        "howpublished": escape(registry),
        "doi": card.doi or "",
        "url": address,
        "orcid": ", ".join(f"{escape(name)}: {orcid}" for name, orcid in (card.orcid or {}).items()),
        "note": f"SHA-256 {sha256}",
    }
    lines = [f"  {name:<12} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@misc{{{key},", *lines, "}"]) + "\n"


def _cff(card: Card, title: str, signed: str, address: str, sha256: str) -> str:
    identifiers = [{"type": "other", "value": f"sha256:{sha256}", "description": "the embedding's file"}]
    document: dict[str, object] = {
        "cff-version": "1.2.0",
        "message": "If you use this embedding, please cite it as below.",
        "type": "dataset",
        "title": title,
        "authors": [_entity(name, card) for name in card.authors],
        "version": card.version,
        "date-released": signed[:10],
        "url": address,
        "identifiers": identifiers,
    }
    if card.doi:
        document["doi"] = card.doi
    if card.ror and card.publisher not in card.authors:
        ror = {"type": "url", "value": card.ror, "description": f"ROR of the publisher, {card.publisher}"}
        document["identifiers"] = [*identifiers, ror]
    if _SPDX.fullmatch(card.licence):
        document["license"] = card.licence
    else:
        document["license-url"] = card.licence_link
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _entity(name: str, card: Card) -> dict[str, str]:
    told = {
        "name": name,
        "orcid": (card.orcid or {}).get(name),
        "website": card.ror if name == card.publisher else None,
    }
    return {field: value for field, value in told.items() if value}


def escape(text: str) -> str:
    """One line of text that is a field of BibTeX and nothing else."""
    return "".join(_ESCAPED.get(character, character) for character in " ".join(text.split()))
