"""Disks that are full or read-only, for real: a small tmpfs where this user may mount, rights or limits elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: str | Path) -> bool:
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def small_disk(folder: Path, *, kilobytes: int, inodes: int = 0) -> Iterator[Path]:
    """A filesystem of its own of this size at `folder`, and with so many inodes if that is not 0.

    Where this user may not mount, the test is skipped.
    """
    folder.mkdir()
    if not _mount("-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0700,nr_inodes={inodes}", "tmpfs", folder):
        pytest.skip("this user may not mount a tmpfs: the test with RLIMIT_FSIZE stands in")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing under `folder` can be written: remounted for root, whom rights do not bind; by rights for others."""
    if os.geteuid() == 0:
        assert _mount("--bind", folder, folder) and _mount("-o", "remount,ro,bind", folder)
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        return
    before = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path, mode in before.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def fill(folder: Path) -> Path:
    """Take all room that is left; returns the file that took it."""
    taken = folder / "filler"
    with taken.open("wb", buffering=0) as stream:
        for size in (65536, 4096, 1):
            try:
                while stream.write(bytes(size)):
                    pass
            except OSError:
                continue
    return taken
