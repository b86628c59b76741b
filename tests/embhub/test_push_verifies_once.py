"""One push reads each file, checks each signature and looks for personal data once, whoever signed and when."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from embhub.client.publishing import push as publishing
from embhub.errors import ArtifactError, PrivacyError
from embhub.refusals import CardMismatchError, ClaimMismatchError, DigestMismatchError, WrongRepositoryError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.signing import keys
from tests.support.releases import make_embedding, make_release, resigned
from tests.support.sites import Site

NAMESPACE = "radboud"
WATCHED = {
    "verification": "embhub.release.verification:verify",
    "tensors": "embhub.formats.tensors:parse",
    "embedding": "embhub.artifact.embedding:interpret",
    "card": "embhub.cards.card:from_readme",
    "report": "embhub.audits.report:AuditReport.parse",
    "bundle": "embhub.trust.bundle:parse",
    "statement": "embhub.trust.statement:parse",
    "signature": "embhub.trust.dsse:verify",
    "personal data": "embhub.cards.personal_data:personal_data_in_release",
}
ONCE = {"verification": 1, "tensors": 1, "embedding": 1, "card": 1, "report": 1, "personal data": 1}
SIGNED = {"bundle": 3, "signature": 3, "statement": 3}  # the publisher's statement, the audit's, the model signature


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path / "site", "http://127.0.0.1:9").enter(monkeypatch)
    monkeypatch.setenv("EMBHUB_NAMESPACE", NAMESPACE)
    keys.generate("default")
    return found


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """How often each of WATCHED is entered meanwhile, by whatever name its caller knows it."""
    codes: dict[Any, str] = {}
    for label, place in WATCHED.items():
        module, _, attribute = place.partition(":")
        importlib.import_module(module)
        found: Any = sys.modules[module]
        for name in attribute.split("."):
            found = getattr(found, name)
        codes[found.__code__] = label
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in codes:
            calls[codes[frame.f_code]] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def push(site: Site, path: Path, **choices: Any) -> Counter[str]:
    out = site.folder / "out"
    with counted() as calls:
        publishing.push(path, dry_run=True, out=out, **choices)
    assert Release.from_folder(out).files[release_files.EMBEDDING] == path.read_bytes()
    return calls


def test_a_file_that_nobody_signed_yet(site: Site) -> None:
    written = {"statement": 5}  # each is read back before it is signed, then checked as a stranger would read it
    assert push(site, site.make()) == ONCE | SIGNED | written


def test_a_file_without_an_audit(site: Site) -> None:
    once = {label: count for label, count in ONCE.items() if label != "report"}
    assert push(site, site.make(audited=False)) == once | {"bundle": 2, "signature": 2, "statement": 3}


def test_a_file_that_was_signed_before(site: Site) -> None:
    path = site.make()
    publishing.sign(path)
    assert push(site, path) == ONCE | SIGNED


def test_signing_alone(site: Site) -> None:
    path = site.make()
    with counted() as calls:
        publishing.sign(path)
    assert calls == ONCE | SIGNED | {"statement": 5}


def test_a_folder_that_is_signed_anew(site: Site) -> None:
    push(site, site.make())
    with counted() as calls:
        publishing.sign(site.folder / "out")
    assert calls["verification"] == calls["personal data"] == calls["tensors"] == calls["card"] == 1


# ── what was refused is refused ────────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_names_a_patient_is_neither_signed_nor_sent(site: Site) -> None:
    path = site.make(description="Made for Jan Jansen, born 12-03-1956, MRN 12345678")
    with pytest.raises((PrivacyError, ArtifactError)):
        push(site, path)
    assert not at_the_site.beside(path, at_the_site.PUBLISH_BUNDLE).exists() and not (site.folder / "out").exists()


def test_a_card_that_was_edited_after_signing(site: Site) -> None:
    path = site.make()
    publishing.sign(path)
    card = at_the_site.beside(path, at_the_site.CARD)
    card.write_bytes(card.read_bytes().replace(b"1.0.0", b"1.0.1"))
    with pytest.raises(CardMismatchError) as caught:
        push(site, path)
    assert f"embhub sign {path}" in caught.value.hint


def test_an_embedding_that_was_changed_after_signing(site: Site) -> None:
    path = site.make()
    publishing.sign(path)
    path.write_bytes(make_embedding(seed=7).data)
    with pytest.raises(DigestMismatchError):
        push(site, path)


def test_another_name_than_the_signed_one(site: Site) -> None:
    folder = site.folder / "outbox"
    publishing.push(site.make(), dry_run=True, out=folder)
    with pytest.raises(WrongRepositoryError):
        publishing.push(None, f"{NAMESPACE}/other", from_folder=folder)


def test_a_claim_is_held_against_its_statement_where_nobody_knows_the_signer(tmp_path: Path, site: Site) -> None:
    """A machine without this key and without keyrings leaves the signature to the registry, and nothing else."""
    sound, forged = tmp_path / "sound", tmp_path / "forged"
    make_release().to_folder(sound)
    resigned(make_release(), publish={"privacy": {"epsilon": 1}}).to_folder(forged)
    assert publishing.push(from_folder=sound, dry_run=True, out=tmp_path / "sent").version == "1.0.0"
    with pytest.raises(ClaimMismatchError):
        publishing.push(from_folder=forged, dry_run=True, out=tmp_path / "not-sent")
    assert not (tmp_path / "not-sent").exists()
