"""From a registry or a folder to something that may be used: fetch, verify, and only then write under final names."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub import release as layout
from embhub import verification
from embhub.checks import yanks
from embhub.checks.refusals import Finding
from embhub.checks.yanks import Yank
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.faults import plain
from embhub.formats import names
from embhub.progress import OnProgress
from embhub.release import Release
from embhub.site import accounts, places, roots, seen, site_files
from embhub.site.files import write_atomic
from embhub.verification import Policy, Verified

if TYPE_CHECKING:
    from embhub.hub import Hub, Listing

POLICIES = {policy.name: policy for policy in (verification.STANDARD, verification.STRICT)}


@dataclass(frozen=True)
class Fetched:
    """A verified release in memory, where it came from, and the keys that are known as stolen by now."""

    verified: Verified
    release: Release
    commit: str
    stolen: frozenset[str] = frozenset()


def pull(
    reference: str,
    *,
    registry: str | None = None,
    token: str | None = None,
    out: str | Path | None = None,
    policy: str | Policy = "standard",
    on_progress: OnProgress | None = None,
) -> Verified:
    """Fetch `namespace/name` or `namespace/name@revision`, verify it, and write it to a folder.

    Args:
        reference: the repository; without a revision its newest release.
        out: folder to write: new, empty, or with an earlier pull in it  [default: `name` in the working folder].
        policy: "standard", or "strict", which asks for an audit too.

    Raises:
        VerificationError: not what a trusted publisher signed for this repository, or older than one seen before.
        RegistryError: the registry refuses or cannot be reached.
        ConfigError: no registry is set, no keyring is trusted, the folder cannot be written or holds other things.
    """
    folder = choose_folder(reference, out)
    places.check_folder(folder)
    _check_contents(folder)
    fetched = fetch(reference, registry=registry, token=token, policy=policy, on_progress=on_progress)
    _write(fetched.release, folder, name=_name(reference))
    remember(fetched)
    return fetched.verified


def choose_folder(reference: str, out: str | Path | None = None) -> Path:
    """Where `pull` writes: `out`, or a folder of the repository's name in the working folder."""
    return Path(out) if out is not None else Path(_name(reference))


def fetch(
    reference: str,
    *,
    registry: str | None = None,
    token: str | None = None,
    policy: str | Policy = "standard",
    on_progress: OnProgress | None = None,
) -> Fetched:
    """As `pull`, into memory: nothing is written, and the version is not remembered until `remember` is called."""
    repository, _, revision = reference.partition("@")
    names.check_repository(repository)
    chosen = find_policy(policy)
    hub = accounts.connect(registry, token=token)
    trusts, remarks = roots.trusted_by(hub.registry)
    release, commit = hub.fetch(repository, revision or None, on_progress=on_progress)
    verified = verification.verify(
        release,
        trust=trusts,
        policy=chosen,
        repository=repository,
        now=datetime.now(UTC),
        seen=seen.accepted(),
    )
    yanked, heard = _ask_for_yank(hub, repository, commit)
    first = [yanked.as_finding(hub.registry)] if yanked else []
    findings = (*first, *verified.findings, *remarks, *heard)
    stolen = frozenset().union(*(trust.keyring.stolen() for trust in trusts))
    return Fetched(replace(verified, yanked=yanked, findings=findings), release, commit, stolen)


def remember(fetched: Fetched) -> None:
    """Note the accepted version, so that an older one is refused from now on."""
    verified = fetched.verified
    seen.remember(
        verified.signer.registry,
        verified.repository,
        version=verified.version,
        digest=verified.digest,
        signer=verified.signer.fingerprint,
        stolen=fetched.stolen,
    )


def verify_path(
    target: str | Path,
    *,
    policy: str | Policy = "standard",
    registry: str | None = None,
    token: str | None = None,
    on_progress: OnProgress | None = None,
) -> Verified:
    """Verify a signed file, a folder as `pull` leaves it, or a repository. The first two need no network.

    Raises:
        VerificationError: not what a trusted publisher signed.
        UsageError: nothing of that name.
        ConfigError: no keyring is trusted.
    """
    if names_repository(target):
        fetched = fetch(str(target), policy=policy, registry=registry, token=token, on_progress=on_progress)
        remember(fetched)
        return fetched.verified
    return verify_release(read_release(target), target=target, policy=policy)


def verify_release(release: Release, *, target: str | Path, policy: str | Policy = "standard") -> Verified:
    """Verify what was read from `target` on this disk, by the keyrings kept here.

    A folder may stand where a repository of the same name was meant; a finding then says which of the two it is.

    Raises:
        VerificationError: not what a trusted publisher signed, or older than what was accepted before.
        ConfigError: no keyring is trusted.
    """
    verified = verification.verify(
        release,
        trust=roots.trusted_offline(),
        policy=find_policy(policy),
        now=datetime.now(UTC),
        seen=seen.accepted(),
    )
    if names.repository_fault(str(target)) is not None:
        return verified
    if verified.repository == str(target):
        finding = Finding("repository", "ok", f"a folder here, signed for {target}; the registry was not asked")
    else:
        text = f"{target} is a folder here, signed for {verified.repository}; no repository {target} was asked for"
        finding = Finding("repository", "warning", text)
    return replace(verified, findings=tuple(finding if old.check == "repository" else old for old in verified.findings))


def read_release(target: str | Path) -> Release:
    """The release in a folder as `pull` leaves it, or of a file with card, report and attestations beside it."""
    path = Path(target)
    if path.is_dir():
        return Release.from_folder(path)
    if not path.exists():
        raise UsageError(f"{path} is not there", "name a file, a folder, or a repository as namespace/name")
    return site_files.read(path)


def names_repository(target: str | Path) -> bool:
    """Whether `target` names a repository: something on this disk wins over a repository of the same name."""
    text = str(target)
    fault = names.repository_fault(text.partition("@")[0])
    return fault is None and not text.endswith(".safetensors") and not Path(text).exists()


def search(query: str = "", *, limit: int = 50, registry: str | None = None, token: str | None = None) -> list[Listing]:
    """Repositories of the registry that match `query`; unverified, for people to choose from."""
    return accounts.connect(registry, token=token).search(query, limit=limit)


def find_policy(policy: str | Policy) -> Policy:
    """A policy by its name; UsageError where there is none of that name."""
    if isinstance(policy, Policy):
        return policy
    if policy not in POLICIES:
        raise UsageError(f"there is no policy {policy!r}", f"choose one of {', '.join(POLICIES)}")
    return POLICIES[policy]


def _ask_for_yank(hub: Hub, repository: str, commit: str) -> tuple[Yank | None, list[Finding]]:
    """What the registry says of a commit that was taken back; a host that is no embhub registry says nothing."""
    try:
        said = hub.status(repository)
        known = yanks.parse(said, repository=repository) if said is not None else ()
    except RegistryError as error:
        text = f"not known whether {hub.registry} lists this release as taken back: {error.message}"
        return None, [Finding(yanks.CHECK, "note", text)]
    except ValueError as error:
        text = f"{hub.registry} answered nonsense when asked whether this release was taken back, and it was ignored"
        return None, [Finding(yanks.CHECK, "warning", f"{text}: {plain(error)}")]
    return next((yank for yank in known if yank.revision == commit), None), []


def _name(reference: str) -> str:
    return reference.partition("@")[0].rpartition("/")[2]


def _check_contents(folder: Path) -> None:
    """Refuse to write over, or remove, what no pull left there, or to follow a link out of the folder."""
    for name in layout.LIMITS:
        parent = (folder / name).parent
        if parent != folder and parent.is_symlink():
            raise ConfigError(f"{parent} is a link to another place", "remove it, or choose another --out")
    if folder.exists() and any(folder.iterdir()) and not (folder / layout.PUBLISH_BUNDLE).exists():
        raise ConfigError(f"{folder} is there, and holds other things than a release", "choose another --out")


def _write(release: Release, folder: Path, *, name: str) -> None:
    """Write the release and a copy of the embedding under the repository's name; on a full disk, nothing.

    What an earlier pull left there and this release no longer has (an audit, say) goes: it would vouch for nothing.
    """
    staging = Path(tempfile.mkdtemp(dir=places.nearest(folder), prefix=".embhub-"))
    made = staging / "release"
    try:
        release.to_folder(made)
        write_atomic(made / f"{name}.safetensors", release.embedding.data)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            made.rename(folder)
            return
        for path in sorted(made.rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(made)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
        for gone in layout.LIMITS.keys() - release.files.keys():
            (folder / gone).unlink(missing_ok=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
