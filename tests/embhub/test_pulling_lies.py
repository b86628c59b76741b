"""Fetch, verify, and only then write: from a registry that lies, and into folders that hold something."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.pulling import overview
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import ConfigError, VerificationError
from embhub.refusals import (
    BadSignatureError,
    CardMismatchError,
    DigestMismatchError,
    MissingAuditError,
    RollbackError,
    UnknownSignerError,
    WrongNamespaceError,
    WrongRepositoryError,
    WrongRootError,
)
from embhub.release import files as release_files
from embhub.release.verification import Verified
from embhub.site import config
from embhub.site.memory import seen
from tests.support import hostile
from tests.support.releases import (
    OTHER_SITE,
    REPOSITORY,
    ROOT,
    STRANGER,
    make_embedding,
    make_export,
    make_keyring,
    make_release,
    make_sheet,
    replaced,
)
from tests.support.sites import Site


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Registry]:
    with hostile.serve() as registry:
        registry.files = make_release(sheet=make_sheet()).files
        registry.export = make_export()
        Site(tmp_path / "site", registry.url).enter(monkeypatch)
        roots.add_root(registry.url, fingerprint=ROOT.fingerprint)
        yield registry


def pull_nothing(kind: type[Exception]) -> None:
    """A pull that is refused, and leaves neither a file nor a memory."""
    before = files(Path.cwd())
    with pytest.raises(kind) as caught:
        pulling.pull(REPOSITORY)
    assert getattr(caught.value, "hint", "")
    assert files(Path.cwd()) == before
    assert not Path("prostate-cspca").exists()


def test_an_honest_answer_is_taken(liar: hostile.Registry) -> None:
    assert pulling.pull(REPOSITORY).version == "1.0.0"


ABSENT = {release_files.SOURCE_BUNDLE, release_files.STUDY}  # from the release that is pulled here


@pytest.mark.parametrize("name", sorted(release_files.LIMITS.keys() - ABSENT))
def test_one_changed_byte_anywhere_is_noticed(liar: hostile.Registry, name: str) -> None:
    data = bytearray(liar.files[name])
    position = data.rindex(b"a") if name.endswith((".md", ".json")) else len(data) - 5
    data[position] ^= 1
    liar.files = {**liar.files, name: bytes(data)}
    pull_nothing(VerificationError)


@pytest.mark.parametrize("name", sorted(release_files.LIMITS.keys() - {release_files.MODEL_BUNDLE, *ABSENT}))
def test_a_missing_file_is_noticed(liar: hostile.Registry, name: str) -> None:
    liar.files = {path: data for path, data in liar.files.items() if path != name}
    pull_nothing(VerificationError)


def test_another_repositorys_release(liar: hostile.Registry) -> None:
    liar.files = make_release(repository="radboud/other").files
    pull_nothing(WrongRepositoryError)


def test_a_strangers_release(liar: hostile.Registry) -> None:
    liar.files = make_release(key=STRANGER).files
    pull_nothing(UnknownSignerError)


def test_another_members_release(liar: hostile.Registry) -> None:
    liar.files = make_release(key=OTHER_SITE).files
    pull_nothing(WrongNamespaceError)


def test_a_mixture_of_two_releases(liar: hostile.Registry) -> None:
    other = make_release(artifact=make_embedding(seed=5))
    liar.files = {**liar.files, release_files.EMBEDDING: other.files[release_files.EMBEDDING]}
    pull_nothing(DigestMismatchError)


def test_a_signature_from_another_statement(liar: hostile.Registry) -> None:
    ours, theirs = make_release(), make_release(version="2.0.0")
    mixed = replaced(ours, publish_bundle=theirs.files[release_files.PUBLISH_BUNDLE])
    liar.files = mixed.files
    pull_nothing(CardMismatchError)


def test_a_dropped_audit(liar: hostile.Registry) -> None:
    liar.files = replaced(make_release(), audit=None, audit_bundle=None).files
    pull_nothing(MissingAuditError)


def test_an_older_release_than_before(liar: hostile.Registry) -> None:
    liar.files = make_release(version="1.2.0").files
    pulling.pull(REPOSITORY)
    kept = {path: Path("prostate-cspca", path).read_bytes() for path in files(Path("prostate-cspca"))}
    liar.files = make_release(version="1.1.0").files
    with pytest.raises(RollbackError):
        pulling.pull(REPOSITORY)
    assert {path: Path("prostate-cspca", path).read_bytes() for path in files(Path("prostate-cspca"))} == kept
    liar.files = make_release(version="1.2.0", artifact=make_embedding(seed=3)).files
    with pytest.raises(RollbackError):
        pulling.pull(REPOSITORY)
    with pytest.raises(RollbackError):
        pulling.verify_path(REPOSITORY)


def test_an_older_release_by_another_way_than_before(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror, a second address, a USB stick: what counts is whose keyring vouches, not where the bytes lay."""
    liar.files = make_release(version="1.2.0").files
    pulling.pull(REPOSITORY)
    old = make_release(version="1.1.0")
    old.to_folder(Path("stick"))
    for target in ("stick", f"stick/{release_files.EMBEDDING}"):
        with pytest.raises(RollbackError):
            pulling.verify_path(target)
    with hostile.serve() as mirror:
        mirror.files = old.files
        monkeypatch.setenv("EMBHUB_REGISTRY", mirror.url)
        with pytest.raises(RollbackError):
            pulling.pull(REPOSITORY, out="mirrored")


def outcome(verified: Verified, check: str) -> str:
    (found,) = [finding.outcome for finding in verified.findings if finding.check == check]
    return found


def test_a_keyring_that_could_not_be_renewed_is_told(liar: hostile.Registry) -> None:
    assert not [finding for finding in pulling.pull(REPOSITORY).findings if finding.check == "keyring"]
    liar.export = b""
    assert outcome(pulling.pull(REPOSITORY), "keyring") == "warning"


def test_a_folder_in_the_way_of_a_repository_is_told(liar: hostile.Registry) -> None:
    make_release().to_folder(Path(REPOSITORY))
    assert outcome(pulling.verify_path(REPOSITORY), "repository") == "ok"
    make_release(repository="radboud/other").to_folder(Path("radboud/wanted"))
    assert outcome(pulling.verify_path("radboud/wanted"), "repository") == "warning"
    assert outcome(pulling.verify_path("./radboud/wanted"), "repository") == "note"
    assert not [path for _, path, _, _ in liar.requests if "/api/" in path]


def test_show_judges_the_bytes_that_it_shows(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = make_release(), make_release(artifact=make_embedding(seed=7), key=STRANGER)
    bad.to_folder(Path("folder"))
    read = pulling.read_release

    def swap(target: str | Path) -> release_files.Release:
        found = read(target)
        good.to_folder(Path(target))
        return found

    monkeypatch.setattr(pulling, "read_release", swap)
    facts = overview.show("folder")
    assert facts["sha256"] == bad.embedding.digest and facts["verified"].startswith("no:")


def test_forgetting_is_never_silent(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY)
    (config.paths().state / "seen.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        pulling.pull(REPOSITORY)


def test_an_older_keyring_than_before(liar: hostile.Registry) -> None:
    liar.export = make_export(make_keyring(version=3))
    roots.refresh_roots(liar.url)
    liar.export = make_export(make_keyring(version=2))
    pull_nothing(RollbackError)


def test_a_keyring_of_another_root(liar: hostile.Registry) -> None:
    liar.export = make_export(root=STRANGER)
    pull_nothing(WrongRootError)


def test_a_member_removed_since_counts_no_more(liar: hostile.Registry) -> None:
    liar.export = make_export(make_keyring(version=2, members=[]))
    pull_nothing(UnknownSignerError)


def test_a_registry_without_a_keyring_is_judged_by_the_one_kept_here(liar: hostile.Registry) -> None:
    liar.export = b""
    assert pulling.pull(REPOSITORY).version == "1.0.0"


def test_a_mirror_is_judged_by_the_keyring_of_its_source(
    liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.serve() as mirror:
        mirror.files = liar.files
        monkeypatch.setenv("EMBHUB_REGISTRY", mirror.url)
        assert pulling.pull(REPOSITORY).signer.namespace == "radboud"
        mirror.files = make_release(key=STRANGER).files
        shutil.rmtree("prostate-cspca")
        pull_nothing(UnknownSignerError)


def test_a_failed_pull_leaves_an_earlier_one_as_it_was(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY)
    before = {path: Path("prostate-cspca", path).read_bytes() for path in files(Path("prostate-cspca"))}
    liar.files = {**liar.files, release_files.CARD: liar.files[release_files.CARD] + b"x"}
    with pytest.raises(CardMismatchError):
        pulling.pull(REPOSITORY)
    assert {path: Path("prostate-cspca", path).read_bytes() for path in files(Path("prostate-cspca"))} == before


def test_a_later_release_without_audit_leaves_no_old_report(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY)
    liar.files = make_release(version="1.1.0", audited=False).files
    pulling.pull(REPOSITORY)
    assert release_files.AUDIT not in files(Path("prostate-cspca"))
    assert pulling.verify_path("prostate-cspca").version == "1.1.0"


@pytest.mark.parametrize("name", ["README.md", "audit.json", "thesis.tex"])
def test_a_folder_of_somebody_elses_is_left_alone(liar: hostile.Registry, tmp_path: Path, name: str) -> None:
    liar.files = make_release(audited=False).files
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).write_text("my own")
    asked = len(liar.requests)
    with pytest.raises(ConfigError, match="other things than a release") as caught:
        pulling.pull(REPOSITORY, out=tmp_path / "project")
    assert "--out" in caught.value.hint
    assert files(tmp_path / "project") == [name]
    assert (tmp_path / "project" / name).read_text() == "my own"
    assert len(liar.requests) == asked


def test_an_empty_folder_is_filled(liar: hostile.Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    pulling.pull(REPOSITORY, out=tmp_path / "empty")
    assert pulling.verify_path(tmp_path / "empty").version == "1.0.0"


def test_a_tampered_folder_is_refused(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY)
    folder = Path("prostate-cspca")
    copy = folder / "prostate-cspca.safetensors"
    copy.write_bytes(make_embedding(seed=7).data)
    for target in (folder, copy):
        with pytest.raises(DigestMismatchError):
            pulling.verify_path(target)


def test_a_signature_bit_is_enough(liar: hostile.Registry) -> None:
    bundle = liar.files[release_files.PUBLISH_BUNDLE]
    at = bundle.index(b'"sig":"') + 40
    changed = bundle[:at] + (b"A" if bundle[at : at + 1] != b"A" else b"B") + bundle[at + 1 :]
    liar.files = {**liar.files, release_files.PUBLISH_BUNDLE: changed}
    pull_nothing(BadSignatureError)


def test_the_memory_of_versions_only_grows(liar: hostile.Registry) -> None:
    seen.remember("https://x.example", "a/b", version="2.0.0", digest="0" * 64)
    seen.remember("https://x.example", "a/b", version="1.0.0", digest="1" * 64)
    sighting = seen.newest("https://x.example", "a/b")
    assert sighting is not None and sighting.version == "2.0.0"
    assert (config.paths().state / "seen.json").stat().st_mode & 0o777 == 0o600
