"""Lock files: noting which releases are in use, and pulling exactly these later or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from embhub import destinations
from embhub.client.pulling import public_hub
from embhub.client.pulling import pull as pulling
from embhub.client.pulling.pull import Fetched
from embhub.client.trusted import site_policy
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats.plain_text import plain
from embhub.progress import OnProgress
from embhub.release import demands, lock_file, unpacking
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.release.lock_file import Locked
from embhub.release.policy import Policy
from embhub.release.verification import Verified
from embhub.site.memory import seen
from embhub.site.pins import trust_store
from embhub.trust.keyring import Trust


def lock(
    targets: Sequence[str] = (), *, out: Path, registry: str | None = None, policy: str | Policy = "standard",
    require: str | Iterable[str] = (),
) -> tuple[Locked, ...]:  # fmt: skip
    """Verify releases and write them to a lock file.

    Args:
        targets: repositories (`NS/NAME`, also `@VERSION` or `@COMMIT`) and folders that `pull` wrote; one folder may
            be named twice. Without any, `pulled_here`.
        out: the file to write.

    Raises:
        UsageError: nothing to lock, or two releases of one repository.
        ConfigError: the file cannot be written; no keyring is trusted.
        VerificationError, PolicyError, RegistryError: as `pull.verify_path`.
    """
    chosen = site_policy.choose(policy, require)
    found = list(dict.fromkeys(os.path.normpath(one) for one in targets)) or pulled_here()
    if not found:
        raise UsageError("there is no release to lock here", "name a release, or pull one first")
    rows = tuple(dict.fromkeys(_lock_one(target, registry=registry, policy=chosen) for target in found))
    write_atomic(out, lock_file.to_bytes(rows))
    return tuple(sorted(rows, key=lambda row: (row.registry, row.repository)))


def pulled_here() -> list[str]:
    """The folders directly below the working folder that `pull` wrote."""
    return sorted(str(path.parent.parent) for path in Path().glob(f"*/{release_files.PUBLISH_BUNDLE}"))


def read(path: Path) -> tuple[Locked, ...]:
    """A lock file from this disk.

    Raises:
        UsageError: it is missing, too large or malformed.
    """
    try:
        with path.open("rb") as stream:
            return lock_file.parse(stream.read(lock_file.MAX_BYTES + 1))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "`embhub pull --lock` writes a lock file") from error


def pull_locked(
    path: Path, reference: str | None = None, *, out: Path | None = None, registry: str | None = None,
    policy: str | Policy = "standard", require: str | Iterable[str] = (), on_progress: OnProgress | None = None,
) -> list[tuple[Path, Verified]]:  # fmt: skip
    """Pull exactly the releases of a lock file, or the one of `reference`, each to a folder of its name.

    All are fetched, verified and compared before the first is written.

    Args:
        out: the folder that the releases' folders are made in; by default the working folder.
        registry: the address to ask, such as a mirror's. By default where the locked registry is pinned.

    Raises:
        LockMismatchError: what came is not what was locked. Nothing was written.
        UsageError: the file is no lock file, does not hold `reference`, or two releases would have one folder.
        VerificationError, PolicyError, RegistryError, ConfigError: as `pull.pull`.
    """
    rows = _select(read(path), reference)
    chosen = site_policy.choose(policy, require)
    folders = [(out or Path()) / row.repository.partition("/")[2] for row in rows]
    if len(set(folders)) < len(folders):
        raise UsageError("two locked releases would be written to one folder", "pull them one by one: NS/NAME --locked")
    for folder in folders:
        destinations.check_folder(folder)
        unpacking.check_contents(folder)
    fetched = [_fetch(row, registry=registry, policy=chosen, on_progress=on_progress) for row in rows]
    return [(folder, pulling.keep(one, folder, name=folder.name)) for folder, one in zip(folders, fetched, strict=True)]


def _fetch(row: Locked, *, registry: str | None, policy: Policy, on_progress: OnProgress | None) -> Fetched:
    address = registry or _address_of(row)
    fetched = pulling.fetch(
        f"{row.repository}@{row.commit or row.version}", registry=address, policy=policy, on_progress=on_progress
    )
    row.check(_describe(fetched.verified, fetched.release, commit=fetched.commit))
    if row.commit is None:
        demands.refuse_unpinned(fetched.verified, commit=fetched.commit)
    return fetched


def _select(rows: tuple[Locked, ...], reference: str | None) -> tuple[Locked, ...]:
    if reference is None:
        return rows
    found = tuple(row for row in rows if row.repository == reference)
    if not found:
        raise UsageError(f"{reference} is not in the lock file", "name a repository that it holds, or none for all")
    return found


def _address_of(row: Locked) -> str:
    for address in trust_store.addresses():
        if trust_store.load(address).origin == row.registry:
            return address
    raise ConfigError(f"no registry {row.registry} is trusted here", f"embhub trust add https://{row.registry}")


def _lock_one(target: str, *, registry: str | None, policy: Policy) -> Locked:
    if public_hub.is_reference(target):
        raise UsageError(
            f"{plain(target)} is on the public Hub, and a lock file names releases at their own registry",
            "lock NAMESPACE/NAME of that registry, or pull this one and lock the folder",
        )
    if pulling.names_repository(target):
        fetched = pulling.fetch(target, registry=registry, policy=policy)
        if target.partition("@")[2] != fetched.commit:
            demands.refuse_unpinned(fetched.verified, commit=fetched.commit)
        pulling.remember(fetched)
        return _describe(fetched.verified, fetched.release, commit=fetched.commit)
    release = pulling.read_release(target)
    verified = pulling.verify_release(release, target=target, policy=policy)
    return _describe(verified, release, commit=_remembered_commit(verified, release))


def _remembered_commit(verified: Verified, release: Release) -> str | None:
    sighting = seen.accepted().get((verified.signer.registry, verified.repository))
    before = sighting.of(verified.version) if sighting is not None else None
    same = before is not None and before.statement == release.publish_bundle.envelope.identity
    return before.commit if before is not None and same else None


def _describe(verified: Verified, release: Release, *, commit: str | None) -> Locked:
    trust = _trust_of(verified)
    return Locked(
        repository=verified.repository,
        registry=trust.origin,
        version=verified.version,
        commit=commit,
        embedding=verified.digest,
        statement=release.publish_bundle.envelope.identity,
        signer=verified.signer.fingerprint,
        root=trust.root_fingerprint,
    )


def _trust_of(verified: Verified) -> Trust:
    return next(trust for trust in trust_store.load_all() if trust.registry == verified.signer.registry)
