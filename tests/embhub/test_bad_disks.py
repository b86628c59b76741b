"""What people hand in by mistake or in bad faith: disks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from tests.support import hostile
from tests.support.refusing import CONFIG, TRAIN, USAGE, Refused, draw
from tests.support.releases import REPOSITORY, ROOT, make_export, make_release
from tests.support.sites import Site


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount small file systems; skips where this machine does not let us."""
    mounted: list[Path] = []

    def mount(name: str, options: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a file system needs root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def source(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site that may pull a release from somewhere."""
    with hostile.serve() as server:
        server.files, server.export = make_release().files, make_export()
        assert main(["trust", "add", server.url, "--fingerprint", ROOT.fingerprint]) == 0
        monkeypatch.setenv("EMBHUB_REGISTRY", server.url)
        yield site


def test_a_full_disk(source: Site, refused: Refused, tmpfs: Callable[..., Path]) -> None:
    place = tmpfs("full", "size=16k")
    assert main(["verify", REPOSITORY]) == 0  # what is said of a release is remembered, also where it is not written
    refused("pull", REPOSITORY, "--out", place / "deep/pulled", code=CONFIG)
    refused("pull", REPOSITORY, "--out", place, code=CONFIG)
    assert not list(place.rglob("*.safetensors"))
    (place / "filler").write_bytes(b"x" * 8_000)
    path = source.make()
    assert main(["key", "new"]) == 0
    assert main(["sign", str(path), "radboud/x"]) == 0
    refused("push", path, "radboud/x", "--dry-run", "--out", place / "outbox", code=CONFIG)
    assert not (place / "outbox").exists()


def test_a_read_only_folder(source: Site, refused: Refused, tmpfs: Callable[..., Path]) -> None:
    place = tmpfs("read-only", "size=64k,ro")
    assert main(["key", "new"]) == 0
    path = source.make()
    for number in range(3):
        draw(source.folder / f"images/{number}.png", seed=number)
    for words in (
        ("pull", REPOSITORY, "--out", place / "pulled"),
        ("push", path, "radboud/x", "--dry-run", "--out", place / "outbox"),
        ("card", "init", path, "--out", place / "x.card.yaml"),
        ("generate", "x", "--steps", "1", "--out", place / "samples"),
        ("train", "images", *TRAIN[:-1], place / "out.safetensors"),
    ):
        refused(*words, code=CONFIG)


def test_a_home_that_cannot_be_written(
    source: Site, refused: Refused, tmpfs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmpfs("home", "size=64k,ro")))
    refused("key", "new", code=CONFIG)
    refused("trust", "add", source.folder / "export.json", "--fingerprint", ROOT.fingerprint, code=USAGE)
    (source.folder / "export.json").write_bytes(make_export())
    refused("trust", "add", source.folder / "export.json", "--fingerprint", ROOT.fingerprint, code=CONFIG)


@pytest.mark.thorough
def test_a_file_that_may_not_grow(source: Site) -> None:
    """What a quota does, on any machine: EFBIG in the middle of a write."""
    code = (
        "import resource, sys\nfrom embhub.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "pull", REPOSITORY, "--out", "pulled"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=source.folder)
    assert done.returncode == CONFIG, done.stderr
    assert "Traceback" not in done.stderr and "hint: " in done.stderr
    assert not (source.folder / "pulled").exists()
    assert not [path for path in source.folder.iterdir() if path.name.startswith(".")]
