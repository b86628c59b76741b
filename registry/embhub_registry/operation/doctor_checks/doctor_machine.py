"""What `doctor` finds on this machine: room on the disk, rights of folders, and whether keys are the right ones."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from embhub_registry.operation.facts.findings import Finding, Subject, failed, ok, warning
from embhub_registry.operation.facts.registry_facts import NEARLY_FULL
from embhub_registry.operation.keyrings import server_keys
from embhub_registry.people import secret_box
from embhub_registry.storage import configuration
from embhub_registry.storage.registry_keys import FOLDER

FEW_INODES, NO_INODES = 0.05, 0.01  # parts of all that are free


def disk(subject: Subject) -> Iterator[Finding]:
    """Free space of the data folder, by the limit of `/readyz` and by that of the alert."""
    free, size = subject.fact("disk_free_bytes") or 0.0, subject.fact("disk_size_bytes") or 1.0
    least = configuration.number(subject.registry.database.connection(), "ready.free_bytes")
    seen = f"{free / 1e9:,.1f} GB of {size / 1e9:,.1f} GB are free"
    advice = "free space, or move the folder to a larger disk; `storage prune` says what may go"
    if free < least:
        yield failed("disk", f"{seen}, fewer than ready.free_bytes ({least / 1e9:,.1f} GB)", advice)
    elif free < (1 - NEARLY_FULL) * size:
        yield warning("disk", seen, advice)
    else:
        yield ok("disk", seen)


def inodes(folder: Path) -> Iterator[Finding]:
    """Free inodes of the file system, where it counts them: without one no file can be made, whatever space is left."""
    found = os.statvfs(folder)
    if not found.f_files:
        yield ok("inodes", "this file system has no fixed number of them")
        return
    part = found.f_favail / found.f_files
    seen = f"{part:.0%} of {found.f_files:,} are free"
    advice = "remove small files from this disk, or make its file system anew with more inodes"
    if part < NO_INODES:
        yield failed("inodes", seen, advice)
    else:
        yield warning("inodes", seen, advice) if part < FEW_INODES else ok("inodes", seen)


def folders(folder: Path, online: Path) -> Iterator[Finding]:
    """Whether others can read the folder or a key, and whether the files belong to the folder's owner."""
    places = sorted(place for place in {folder / FOLDER, online} if place.is_dir())
    secrets = [path for place in places for path in sorted(place.iterdir()) if _is_secret(path)]
    owner = folder.stat().st_uid
    problems = [*_problems([folder, *places], 0o700), *_problems(secrets, 0o600)]
    for path in (*places, *secrets):
        if (other := path.stat().st_uid) != owner:
            seen = f"{path} belongs to user {other}, the folder to {owner}"
            problems.append(failed("folders", seen, f"chown {owner} {shlex.quote(str(path))}"))
    yield from problems or [ok("folders", f"only user {owner} can read the folder and {len(secrets)} keys")]


def _problems(paths: Iterable[Path], mode: int) -> Iterator[Finding]:
    for path in paths:
        found = stat.S_IMODE(path.stat().st_mode)
        if found & 0o077:
            yield failed(
                "folders", f"others can read {path} (mode {found:04o})", f"chmod {mode:04o} {shlex.quote(str(path))}"
            )


def _is_secret(path: Path) -> bool:
    return path.is_file() and path.suffix in (".pem", ".key")


def online_keys(subject: Subject) -> Iterator[Finding]:
    """Whether the keys that the keyring names for a server are on this machine."""
    registry = subject.registry
    place = registry.private_keys.online
    lacking, others = [], []
    for name, named, held in server_keys.compare(registry.private_keys, registry.trust().keyring):
        if held is None:
            lacking.append(name)
        elif held != named:
            others.append(name)
    if (logins := secret_box.problem(registry)) is not None:
        others.append(logins)
    if others:
        advice = "bring those of a server that signs, or name a new key: `keyring propose`, `sign`, `install`"
        yield failed("keys", f"in {place}, not those that the keyring names: {', '.join(others)}", advice)
    if lacking:
        seen, bring = f"not in {place}: {', '.join(lacking)}", "bring them from a server that signs, or from their copy"
        if registry.is_shared:
            yield warning("keys", seen, f"{bring}; this server serves, and does not sign")
        else:
            yield failed("keys", seen, bring)
    if not others and not lacking:
        yield ok("keys", f"those that the keyring names are in {place}")
