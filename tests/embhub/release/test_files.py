"""A release in memory and in a folder: nothing is read beyond its limit, nothing is ignored in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from embhub.errors import ArtifactError, ConfigError, UsageError
from embhub.refusals import CardMismatchError, FileTooLargeError, UnreadableArtifactError, UnsignedError
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support.releases import make_release

GOOD = make_release()


def test_folder_and_back(tmp_path: Path) -> None:
    GOOD.to_folder(tmp_path / "out")
    again = Release.from_folder(tmp_path / "out")
    assert dict(again.files) == dict(GOOD.files)
    assert again.others == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out" / release_files.PUBLISH_BUNDLE).is_file()
    GOOD.to_folder(tmp_path / "out")
    assert dict(Release.from_folder(tmp_path / "out").files) == dict(GOOD.files)


def test_further_files_are_named_and_copies_digested(tmp_path: Path) -> None:
    GOOD.to_folder(tmp_path / "out")
    (tmp_path / "out/cspca.safetensors").write_bytes(GOOD.files[release_files.EMBEDDING])
    (tmp_path / "out/notes").mkdir()
    (tmp_path / "out/notes/a.txt").write_text("x")
    found = Release.from_folder(tmp_path / "out")
    assert found.others == ("cspca.safetensors", "notes/a.txt")
    assert found.copies == {"cspca.safetensors": GOOD.embedding.digest}


@pytest.mark.parametrize("name", [*release_files.FILES, "copy.safetensors"])
def test_files_beyond_their_limit_are_not_read(tmp_path: Path, name: str) -> None:
    GOOD.to_folder(tmp_path / "out")
    path = tmp_path / "out" / name
    with path.open("wb") as stream:
        stream.truncate(2_000_000_000)
    with pytest.raises(FileTooLargeError):
        Release.from_folder(tmp_path / "out")


@pytest.mark.parametrize("name", release_files.FILES)
def test_bytes_beyond_their_limit(name: str) -> None:
    with pytest.raises(FileTooLargeError):
        Release.from_files({name: b"\0" * (release_files.LIMITS[name] + 1)})


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    GOOD.to_folder(tmp_path / "out")
    card = tmp_path / "out" / release_files.CARD
    card.unlink()
    os.mkfifo(card)
    with pytest.raises(UsageError, match="not a file"):
        Release.from_folder(tmp_path / "out")


def test_folders_that_are_no_release(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no release"):
        Release.from_folder(tmp_path)
    with pytest.raises(UsageError, match="not a folder"):
        Release.from_folder(tmp_path / "absent")


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError):
        GOOD.to_folder(tmp_path / "file/out")


def test_views_say_what_is_missing() -> None:
    empty = Release.from_files({})
    with pytest.raises(UnreadableArtifactError):
        _ = empty.embedding
    with pytest.raises(CardMismatchError):
        _ = empty.card
    with pytest.raises(UnsignedError):
        _ = empty.publish_bundle
    assert empty.audit is None and empty.audit_bundle is None


def test_views_raise_what_their_parsers_raise() -> None:
    broken = Release.from_files(dict.fromkeys(release_files.FILES, b"{}"))
    for view in ("embedding", "card", "audit"):
        with pytest.raises(ArtifactError):
            getattr(broken, view)


def test_folders_without_files_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's archive may hold any number of them: a reading stops after a thousand names."""
    for number in range(1_100):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(UsageError, match="far more than a release"):
        Release.from_folder(tmp_path)
