"""A lock file gives the same releases later, and nothing else, whatever the registry hands out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.pulling import locking
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import UsageError
from embhub.refusals import LockMismatchError, WrongVersionError
from embhub.release import lock_file
from embhub.site.memory import seen
from embhub.trust.origin import origin_of
from tests.support import hostile
from tests.support.quick import quick
from tests.support.releases import (
    REGISTRY,
    REPOSITORY,
    ROOT,
    SITE,
    STRANGER,
    make_embedding,
    make_export,
    make_keyring,
    make_release,
    member,
)
from tests.support.sites import Site

RELEASE = make_release()
FILE = Path("embhub.lock")


@pytest.fixture
def liar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Registry]:
    with hostile.serve() as registry:
        registry.files = RELEASE.files
        registry.export = make_export()
        Site(tmp_path / "site", registry.url).enter(monkeypatch)
        roots.add_root(registry.url, fingerprint=ROOT.fingerprint)
        yield registry


def test_what_is_locked_is_pulled_again_after_a_newer_one(
    liar: hostile.Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", REPOSITORY, "--lock", str(FILE)]) == 0
    (row,) = lock_file.parse(FILE.read_bytes())
    assert (row.registry, row.version, row.embedding) == (origin_of(REGISTRY), "1.0.0", RELEASE.embedding.digest)
    assert (row.signer, row.root) == (SITE.fingerprint, ROOT.fingerprint)
    assert row.statement == RELEASE.publish_bundle.envelope.identity and row.commit is not None
    assert main(["pull", "--lock", "again.lock"]) == 0, "the folder that is here, without pulling"
    assert Path("again.lock").read_bytes() == FILE.read_bytes()
    seen.remember(REGISTRY, REPOSITORY, version="2.0.0", digest="0" * 64, signer=SITE.fingerprint)
    capsys.readouterr()
    assert main(["pull", "--locked", str(FILE), "--out", "models", "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert any("older than 2.0.0" in found["text"] for found in said["findings"])
    assert (Path("models/prostate-cspca/README.md")).read_bytes() == RELEASE.files["README.md"]


def test_a_folder_is_locked_with_the_commit_that_it_was_pulled_by(liar: hostile.Registry) -> None:
    pulling.pull(REPOSITORY)
    (by_folder,) = locking.lock(["prostate-cspca"], out=FILE)
    first = FILE.read_bytes()
    (by_name,) = locking.lock([REPOSITORY], out=FILE)
    assert by_folder == by_name and first == FILE.read_bytes(), "the same releases give the same bytes"
    assert locking.lock(out=Path("all.lock")) == (by_name,)
    RELEASE.to_folder(Path("by-stick"))
    Path(seen._path()).unlink()
    (unknown,) = locking.lock(["by-stick"], out=FILE)
    assert unknown.commit is None
    assert [str(folder) for folder, _ in locking.pull_locked(FILE, out=Path("again"))] == ["again/prostate-cspca"]


@pytest.mark.parametrize("case", quick(["bytes"], thorough=["card", "version", "signer"]))
def test_any_difference_is_refused_and_nothing_written(liar: hostile.Registry, case: str) -> None:
    locking.lock([REPOSITORY], out=FILE)
    seen._path().unlink()  # on another machine, where nothing was seen
    liar.export = make_export(
        make_keyring(members=[member("radboud", [(SITE, "publish"), (STRANGER, "publish")])], version=2)
    )
    release = {
        "card": make_release(limitations="two scanners"),
        "bytes": make_release(artifact=make_embedding(seed=9)),
        "version": make_release(version="1.0.1"),
        "signer": make_release(key=STRANGER),
    }[case]
    liar.files = release.files
    with pytest.raises(LockMismatchError, match="is locked to") as error:
        locking.pull_locked(FILE)
    assert error.value.exit_code == 4
    assert not Path("prostate-cspca").exists() and seen.newest(REGISTRY, REPOSITORY) is None
    document = json.loads(FILE.read_bytes())
    document["releases"][0]["commit"] = None
    FILE.write_text(json.dumps(document))
    with pytest.raises((LockMismatchError, WrongVersionError)):
        locking.pull_locked(FILE)


def test_another_root_than_the_locked_one(liar: hostile.Registry) -> None:
    locking.lock([REPOSITORY], out=FILE)
    document = json.loads(FILE.read_bytes())
    document["releases"][0]["root"] = "SHA256:" + "x" * 43
    FILE.write_text(json.dumps(document))
    with pytest.raises(LockMismatchError, match="the root key"):
        locking.pull_locked(FILE)
    document["releases"][0]["registry"] = "elsewhere.example.org"
    FILE.write_text(json.dumps(document))
    assert main(["pull", "--locked", str(FILE)]) == 7  # that registry is not trusted here


def test_what_cannot_be_asked(liar: hostile.Registry) -> None:
    for words in (
        ["pull"],
        ["pull", "--locked", "none.lock"],
        ["pull", "--lock", "new.lock"],
        ["pull", "--lock", "a", "--locked", "b"],
    ):
        assert main(words) == 2
    with pytest.raises(UsageError, match="on the public Hub, and a lock file") as refused:
        locking.lock(["hub:radboud/prostate"], out=FILE)
    assert "lock the folder" in refused.value.hint and not FILE.exists()
    locking.lock([REPOSITORY], out=FILE)
    with pytest.raises(UsageError, match="not in the lock file"):
        locking.pull_locked(FILE, "radboud/other")
    assert [got.repository for _, got in locking.pull_locked(FILE, REPOSITORY)] == [REPOSITORY]
