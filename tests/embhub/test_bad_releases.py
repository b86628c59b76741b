"""What people hand in by mistake or in bad faith: cards and signatures."""

from __future__ import annotations

from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.release import at_the_site
from embhub.release import files as release_files
from tests.support import hostile
from tests.support.quick import others_thorough
from tests.support.refusing import ARTIFACT, VERIFICATION, Refused
from tests.support.releases import (
    REGISTRY,
    REPOSITORY,
    ROOT,
    STRANGER,
    make_card,
    make_embedding,
    make_export,
    make_release,
    replaced,
)
from tests.support.sites import Site


def test_an_incomplete_card_lists_everything_that_is_missing(site: Site, refused: Refused) -> None:
    path = site.make()
    drafted = site.folder / "draft.card.yaml"
    drafted.write_text("schema: embhub.card/1\nname: x\n")
    said = refused("card", "check", drafted, code=ARTIFACT)
    for field in ("version", "authors", "legal_basis", "intended_use", "limitations", "modality"):
        assert f"{field} is missing" in said
    assert main(["key", "new"]) == 0
    refused("sign", path, "radboud/x", "--card", drafted, "--registry", REGISTRY, code=ARTIFACT)
    drafted.write_bytes(b"\xff\xfe\x00")
    refused("card", "check", drafted, code=ARTIFACT)
    drafted.write_text("a: &a [*a]\n" + "b: " * 50)
    refused("card", "check", drafted, code=ARTIFACT)


def test_a_card_of_another_embedding(site: Site, refused: Refused) -> None:
    path = site.make()
    other = make_card(make_embedding(token="<other>"))
    from embhub.formats import safe_yaml

    at_the_site.beside(path, at_the_site.CARD).write_bytes(safe_yaml.dump(other))
    assert main(["key", "new"]) == 0
    refused("sign", path, "radboud/x", "--registry", REGISTRY, code=ARTIFACT)


@pytest.fixture
def pulled(site: Site) -> Path:
    (site.folder / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    return site.folder / "pulled"


TAMPERED = {
    "by another key": lambda: make_release(key=STRANGER),
    "the card": lambda: replaced(make_release(), card=make_release(limitations="none").files[release_files.CARD]),
    "the audit": lambda: replaced(
        make_release(), audit=make_release().files[release_files.AUDIT].replace(b"0.", b"1.", 1)
    ),
    "the tensor": lambda: replaced(make_release(), embedding=make_embedding(seed=4).data),
    "the bundle": lambda: replaced(make_release(), publish_bundle=b"{}"),
    "no bundle": lambda: replaced(make_release(), publish_bundle=None),
    "the audit's bundle": lambda: replaced(
        make_release(), audit_bundle=make_release(repository="radboud/other").files[release_files.AUDIT_BUNDLE]
    ),
    "another version's bundle": lambda: replaced(
        make_release(), publish_bundle=make_release(version="9.0.0").files[release_files.PUBLISH_BUNDLE]
    ),
}


@pytest.mark.parametrize("what", others_thorough(TAMPERED, list(TAMPERED)[:3]))
def test_whatever_was_edited_is_code_4(pulled: Path, refused: Refused, what: str) -> None:
    TAMPERED[what]().to_folder(pulled)
    said = refused("verify", pulled, code=VERIFICATION)
    assert "failed" in said


def test_another_repositorys_bundle_is_code_4(site: Site, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile.serve() as liar:
        liar.files, liar.export = make_release(repository="radboud/other").files, make_export()
        assert main(["trust", "add", liar.url, "--fingerprint", ROOT.fingerprint]) == 0
        monkeypatch.setenv("EMBHUB_REGISTRY", liar.url)
        refused("pull", REPOSITORY, code=VERIFICATION)
        refused("verify", REPOSITORY, code=VERIFICATION)
