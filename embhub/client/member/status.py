"""Was anything here withdrawn? What this site pulled against the advisories kept here, without a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from embhub.client.pulling import pull as pulling
from embhub.client.statements import reports
from embhub.client.trusted import site_policy, vouching
from embhub.errors import EmbhubError, UsageError
from embhub.formats import instants, names
from embhub.refusals import ReleaseRefusedError
from embhub.release.checks.yanks import WHO
from embhub.release.files import EMBEDDING
from embhub.site.memory import pulled, seen
from embhub.trust import kept_advisories
from embhub.trust.keyring import Trust

State = Literal["ok", "withdrawn", "refused", "missing", "unknown"]
BAD: frozenset[State] = frozenset({"withdrawn", "refused"})
OLD_DAYS = 7  # advisories of more days ago may lack a withdrawal


@dataclass(frozen=True)
class Standing:
    """One release of this site: where it is, and what is known against it.

    `folder` is None for a release that was accepted and whose folder is not known. `reasons` are sentences.
    """

    folder: str | None
    repository: str
    version: str
    digest: str
    state: State
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """The newest advisories of one registry that are kept here; `number` is None where it sends none."""

    registry: str
    number: int | None
    issued: str | None
    days: int | None


@dataclass(frozen=True)
class Report:
    """What `embhub verify --pulled` found. `withdrawn` is whether anything must not be used any more."""

    releases: tuple[Standing, ...]
    sources: tuple[Source, ...]

    @property
    def withdrawn(self) -> bool:
        return any(row.state in BAD for row in self.releases)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "withdrawn": self.withdrawn,
            "releases": [vars(row) | {"reasons": list(row.reasons)} for row in self.releases],
            "advisories": [vars(row) for row in self.sources],
        }


def look_up(target: str | Path | None = None) -> Report:
    """The standing of a folder or file, of a repository as far as this site knows it, or (None) of all that it pulled.

    Nothing is fetched: `embhub trust refresh` brings the newest advisories.

    Raises:
        UsageError: there is nothing of that name.
        ConfigError: no registry is trusted, or what this site remembers cannot be read.
    """
    trusts = vouching.trusted_offline()
    if target is None:
        rows = _everything(trusts)
    elif Path(target).exists():
        rows = [_on_disk(Path(target))]
    elif names.repository_fault(str(target)) is None:
        rows = [row for row in _everything(trusts) if row.repository == str(target)]
        if not rows:
            raise UsageError(f"this site pulled no release of {target}", "pass a folder, or pull the release")
    else:
        raise UsageError(f"{target} is not there", "pass a folder, a file, or a repository as namespace/name")
    return Report(tuple(rows), tuple(_source(trust) for trust in trusts))


def _everything(trusts: Iterable[Trust]) -> list[Standing]:
    """Every folder that a release was pulled into, then what was accepted and is in none of them."""
    trusts, folders = list(trusts), pulled.all_folders()
    rows = []
    for folder, item in folders.items():
        if (folder / EMBEDDING).exists():
            rows.append(_on_disk(folder))
        else:
            rows.append(Standing(str(folder), item.repository, item.version, item.digest, "missing"))
    told = {(row.repository, row.version, row.digest) for row in rows if row.state != "missing"}
    for (registry, repository), sighting in sorted(seen.accepted().items()):
        for version, known in sighting.versions.items():
            if (repository, version, known.digest) not in told:
                rows.append(_remembered(trusts, registry, repository, version, known.digest, signer=known.signer))
    return rows


def _on_disk(path: Path) -> Standing:
    """A folder or file, verified as `embhub verify` does, and what speaks against it."""
    try:
        policy = replace(site_policy.choose(), demands=())  # what is demanded besides is no standing
        verified = pulling.verify_release(pulling.read_release(path), target=path, policy=policy)
    except ReleaseRefusedError as refusal:
        return Standing(str(path), "", "", "", "refused", (refusal.message,))
    except EmbhubError as error:
        if isinstance(error, UsageError):
            raise
        return Standing(str(path), "", "", "", "unknown", (error.message,))
    reasons = [advisory.sentence for advisory in verified.withdrawn]
    if verified.yanked is not None:
        reasons.append(_yanked(verified.yanked.by, verified.yanked.to_json()))
    state: State = "withdrawn" if reasons else "ok"
    return Standing(str(path), verified.repository, verified.version, verified.digest, state, tuple(reasons))


def _remembered(
    trusts: Iterable[Trust], registry: str, repository: str, version: str, digest: str, *, signer: str | None
) -> Standing:
    """A release that this site accepted once, by what it noted of it."""
    reasons = []
    for trust in trusts:
        if trust.registry != registry:
            continue
        listed = kept_advisories.opened(trust)
        if listed is not None:
            found = listed.against(
                namespace=names.namespace_of(repository), repository=repository, version=version, digest=digest
            )
            reasons += [advisory.sentence for advisory in found]
        if signer in trust.keyring.stolen():
            reasons.append(f"the key {signer} that signed it was reported stolen")
    if heard := reports.yank(registry, repository, version):
        reasons.append(_yanked(heard.by, heard.to_json()))
    return Standing(None, repository, version, digest, "withdrawn" if reasons else "ok", tuple(reasons))


def _yanked(by: str, said: dict[str, str]) -> str:
    return f"yanked{WHO.get(by, '')} on {said['date']}: {said['reason']} (unsigned, heard when the registry was asked)"


def _source(trust: Trust) -> Source:
    listed = kept_advisories.opened(trust)
    if listed is None:
        return Source(trust.registry, None, None, None)
    days = max((datetime.now(UTC) - instants.read(_checked(trust, listed.issued))).days, 0)
    return Source(trust.registry, listed.number, listed.issued, days)


def _checked(trust: Trust, issued: str) -> str:
    """Up to when the advisories are known to be the newest: the timestamp's date, where one confirms them."""
    return max(issued, trust.timestamp.issued) if trust.timestamp is not None else issued
