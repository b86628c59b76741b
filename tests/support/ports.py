"""Ported embeddings for tests, and releases of them: made by hand, as `embhub research port` writes them."""

from __future__ import annotations

from typing import Any

from embhub.artifact.derivation import TOOL, Derivation
from embhub.artifact.embedding import Embedding, build
from embhub.cards import card
from embhub.privacy.claim import NONE
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.checks.consistency import base_digest
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from tests.support.releases import BASE, NOW, ORIGIN, REPOSITORY, SITE, make_card, make_embedding, make_release

NEXT: dict[str, Any] = {**BASE, "prediction_type": "v_prediction"}
PORT = REPOSITORY + "-next"


def derive(source: Embedding, **changes: Any) -> Derivation:
    """What a port of `source` says of it."""
    facts: dict[str, Any] = {
        "source": source.digest, "source_base": base_digest(source), "source_base_name": source.base_name,
        "images": 64, "seed": 7, "steps": 20, "guidance": 1.5, "resolution": 64,
    }  # fmt: skip
    return Derivation(**{**facts, **changes})


DERIVED = derive(make_embedding())


def make_port(source: Embedding | None = None, **changes: Any) -> Embedding:
    """A port of `source`: its token and its claim, on another base."""
    source = source or make_embedding()
    rows = make_embedding(seed=3)
    given: dict[str, Any] = {
        "token": source.token, "base": NEXT, "base_name": "builtin-next", "training": {"steps": 5, "tool": TOOL},
        "privacy": source.privacy, "derived_from": derive(source),
    }  # fmt: skip
    return build(rows.tensors, **{**given, **changes})


def make_ported_release(
    source: Release | None = None,
    *,
    port: Embedding | None = None,
    key: SigningKey = SITE,
    repository: str = PORT,
    with_source: bool = True,
    **changes: Any,
) -> Release:
    """A signed release of a port; `changes` go to its card. Signing refuses what does not fit."""
    source = source or make_release(audited=False)
    return signing.sign(
        ported_files(source, port=port, with_source=with_source, **changes),
        registry=ORIGIN, repository=repository, key=key, now=NOW,
    )  # fmt: skip


def ported_files(
    source: Release, *, port: Embedding | None = None, with_source: bool = True, **changes: Any
) -> Release:
    """The same, not signed."""
    port = port or make_port(source.embedding)
    drafted = make_card(port, n_patients=123, n_images=250, max_images_per_patient=3)
    if port.privacy != NONE:
        told = source.card.to_dict()
        drafted |= {name: told[name] for name in ("n_patients", "n_images", "max_images_per_patient")}
    described = card.parse({**drafted, **changes})
    files = {release_files.EMBEDDING: port.data, release_files.CARD: card.to_readme(described)}
    if with_source:
        files[release_files.SOURCE_BUNDLE] = source.files[release_files.PUBLISH_BUNDLE]
    return Release.from_files(files)
