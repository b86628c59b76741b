"""A release that was fetched: verified by what is kept here, written to a folder, and remembered.

Where it came from is decided elsewhere: a registry (`pull`), or the public Hub (`hub_pulling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.client.log import logged, logged_attestations, logged_designs
from embhub.client.statements import memory, reports
from embhub.client.statements.memory import recall
from embhub.errors import UsageError
from embhub.formats import instants, names
from embhub.refusals import AnotherReleaseError
from embhub.release import files as release_files
from embhub.release import policy as policies
from embhub.release import verification
from embhub.release.checks import site_totals
from embhub.release.files import Release
from embhub.release.policy import Policy
from embhub.release.verification import Verified
from embhub.site.memory import seen
from embhub.site.pins import trust_store

if TYPE_CHECKING:
    from embhub.trust.keyring import Trust

HUB = "hub:"
"""How a reference to a repository of the public Hub begins."""


@dataclass(frozen=True)
class Fetched:
    """A verified release in memory, and where it came from.

    `listed`: whether its registry itself was asked, and gave its list of what was taken back. `committed` is the
    release as the registry holds it; `release` has the proof of its log beside it. `is_copy`: it came from the public
    Hub or another copy, whose `commit` need not be its registry's. `unasked`: nobody named this copy.
    """

    verified: Verified
    release: Release
    commit: str
    listed: bool
    committed: Release
    is_copy: bool = False
    unasked: bool = False


def keep(fetched: Fetched, folder: Path, *, name: str) -> Verified:
    """Write a fetched release to a folder, as `name`, and remember it.

    Raises:
        ConfigError: the folder, or the memory, cannot be written.
    """
    from embhub.release import unpacking

    kept = unpacking.write(fetched.release, folder, name=name)
    remember(fetched)
    _note_folder(fetched, folder)
    return replace(fetched.verified, findings=(*fetched.verified.findings, *kept))


def choose_folder(reference: str, out: str | Path | None = None) -> Path:
    """Where `pull` writes: `out`, or a folder of the repository's name in the working folder."""
    return Path(out) if out is not None else Path(name_in(reference))


def remember(fetched: Fetched) -> None:
    """Note the accepted version, so that an older one is refused from now on."""
    memory.remember(fetched.verified, fetched.release, commit=None if fetched.is_copy else fetched.commit)


def _note_folder(fetched: Fetched, folder: Path) -> None:
    """Where the release was written, so that `embhub verify --pulled` finds it."""
    from embhub.site.memory import pulled

    verified = fetched.verified
    pulled.remember(
        folder,
        pulled.Pulled(
            registry=verified.signer.registry, repository=verified.repository, version=verified.version,
            digest=verified.digest, namespace=verified.signer.namespace, signer=verified.signer.fingerprint,
            commit="" if fetched.is_copy else fetched.commit, pulled=instants.write(datetime.now(UTC)),
        ),
    )  # fmt: skip


def note(verified: Verified, *, listed: bool) -> None:
    """Keep what was said of a release. `listed`: whether its registry said what was yanked, which replaces what was.

    What a copy says of yanks is nobody's signed word, and not kept as its registry's.
    """
    reports.remember(
        verified.signer.registry, verified.repository, verified.version, digest=verified.digest,
        yanked=verified.yanked if listed else None, known=listed, audits=(*verified.others, *verified.audits),
        total=site_totals.stated(site_totals.of_this_site(verified.embedding)),
    )  # fmt: skip


def check_commit(verified: Verified, commit: str, *, requested: str) -> None:
    """A release that was requested by a commit is the one that was accepted here as this commit, if one was.

    Raises:
        AnotherReleaseError: it is another one.
        ConfigError: the memory cannot be read.
    """
    if not names.is_commit(requested):
        return
    known = seen.accepted().get((verified.signer.registry, verified.repository), seen.Sighting())
    for before in known.versions.values():
        if before.commit == commit and (before.version, before.digest) != (verified.version, verified.digest):
            raise AnotherReleaseError(
                f"version {verified.version} of {verified.repository} came as the commit {commit}, which was version"
                f" {before.version} when it was accepted here",
                "this copy may be lying about commits: ask its operator, and pull from the registry itself",
            )


def read_release(target: str | Path) -> Release:
    """The release in a folder or an OCI layout, or of a file with card, report and attestations beside it."""
    path = Path(target)
    if release_files.is_oci_layout(path):
        from embhub.release import oci_layout

        return oci_layout.read(path)
    if path.is_dir():
        return Release.from_folder(path)
    if not path.exists():
        near = path.with_name(f"{path.name}.safetensors")
        hint = f"did you mean {near}?" if near.exists() else "pass a file, a folder, or a repository as namespace/name"
        raise UsageError(f"{path} is not there", hint)
    from embhub.release import at_the_site

    return at_the_site.read(path)


def verify_offline(
    release: Release, *, policy: Policy = policies.STANDARD, repository: str | None = None,
    requested: str | None = None, pinned: bool = False, trusts: list[Trust] | None = None,
) -> Verified:  # fmt: skip
    """Verify a release by the keyrings kept here and by what this site heard of it; no demand is judged yet.

    `repository`, `requested` and `pinned` are as for `embhub.release.verification.verify`. `trusts` are the keyrings
    that may vouch for it; by default every one that is kept here.

    Raises:
        VerificationError: as `verify_release`.
        ConfigError: no keyring is trusted.
    """
    trusts, now = trust_store.load_some() if trusts is None else trusts, datetime.now(UTC)
    verified = verification.verify(
        release,
        trust=trusts,
        policy=replace(policy, demands=()),  # judged by the caller, by what was heard
        repository=repository,
        now=now,
        seen=seen.accepted(),
        requested=requested,
        pinned=pinned,
    )
    return memory.with_ledger_findings(recall(say_log(verified, release, trusts=trusts, now=now)), release)


def say_log(verified: Verified, release: Release, *, trusts: Sequence[Trust], now: datetime) -> Verified:
    """What the proofs beside a release's bundles show of it, its audits and its keyring, and what was read before.

    Raises:
        LogError: a proof is wrong, or the log forked. ConfigError: the site's log policy or memory cannot be read.
    """
    verified = logged.check(verified, release, trusts=trusts, source=None, now=now).verified
    verified = logged_attestations.check(verified, release, trusts=trusts, source=None, now=now).verified
    return logged_designs.check(verified, release, trusts=trusts, source=None, ask=None, now=now)


def name_in(reference: str) -> str:
    """The repository's name in a reference, without its namespace and revision."""
    return reference.partition("@")[0].rpartition("/")[2]
