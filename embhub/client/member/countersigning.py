"""An auditor of another house vouches for the audit report of a release: verify, say for what, sign, send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.audits.report import AuditReport
from embhub.client.account import accounts
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import vouching
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.ledger.published_audits import charge_audit
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.checks import consistency
from embhub.release.files import Release
from embhub.release.signing import attest_audit
from embhub.site import config
from embhub.site.signing import keys
from embhub.trust import p256

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub
    from embhub.progress import OnProgress
    from embhub.release.verification import Verified
    from embhub.trust.keyring import KnownKey, Trust


@dataclass(frozen=True)
class Source:
    """Where a release came from and a countersignature goes: a registry, at a commit, or a folder."""

    hub: Hub | None = None
    commit: str = ""
    folder: Path = Path()


@dataclass(frozen=True)
class Draft:
    """What would be countersigned, by whom; nothing is signed yet.

    `release` is what will be sent but for the attestation; `verified` is the release as it stands, `trust` the keyring
    that vouches for it, `key` the name of the auditor's key. `beside` holds the auditor's own report where the release
    has another one: that one stays in the release, and this one with the auditor.
    """

    release: Release
    verified: Verified
    report: AuditReport
    trust: Trust
    key: str
    auditor: KnownKey
    source: Source
    beside: bytes = b""

    @property
    def report_digest(self) -> str:
        """SHA-256 of `audit.json`, hex."""
        return release_files.digest(self.beside or self.release.files[release_files.AUDIT])

    def vouches_for(self) -> tuple[str, ...]:
        """What a countersignature says, a sentence each."""
        verified, report = self.verified, self.report
        result = report.deciding_result
        low, high = result.auc_interval
        return (
            f"{self.auditor.namespace}, independent of {verified.signer.namespace}, stands by this audit report: sha256"
            f" {self.report_digest}",
            f"the report is about this embedding (sha256 {verified.digest}), published as {verified.repository}"
            f" {verified.version}",
            f"what decided: {report.suite} suite, {result.name}, AUC {result.auc:.3f} [{low:.3f}, {high:.3f}], on"
            f" {_count(report)}; verdict {report.verdict}",
            "its figures, power and verdict were computed again here as far as they follow from the report, and agree",
        )

    def leaves_open(self) -> tuple[str, ...]:
        """What it does not say, and nobody can tell from afar, a sentence each."""
        scores = "whether orders and figures are true: they can be invented so that everything fits. "
        if self.report.commitment is None:
            scores += "Only who was on site and ran the audit again there can know; do so before you sign"
        else:
            scores += (
                "Only who was on site can know: `embhub audit --replay`, run there with the site's own images and key,"
                f" gives the commitment {self.report.commitment} and this order; do so before you sign"
            )
        found = [
            scores,
            "how it was made: whether images, split and random numbers are as stated; an order cannot show it",
        ]
        found.append(
            "how often it was tried: the report numbers it among this file's audits, and the site's ledger knows"
        )
        if self.report.suite == "mechanism":
            found.append("what the embedding leaks: made-up canaries tested the code, the file itself was not attacked")
        found.append("the card and what it says of the images: the publisher alone signs that")
        found.append("that the embedding is safe: an audit sees what its attacks can see, and no more")
        return tuple(found)


@dataclass(frozen=True)
class Countersigned:
    """What was signed and where it went: to a registry as `commit`, or into `folder`."""

    repository: str
    version: str
    report: str
    verdict: str
    status: str
    key: str
    commit: str = ""
    url: str = ""
    folder: str = ""


def prepare(
    target: str | Path,
    *,
    audit: str | Path | None = None,
    key: str | None = None,
    registry: str | None = None,
    token: str | None = None,
    on_progress: OnProgress | None = None,
) -> Draft:
    """Fetch or read a release, verify it, and lay out what a countersignature would say. Signs and sends nothing.

    Args:
        target: `namespace/name`, or a folder as `pull` leaves it, which needs no network.
        audit: the auditor's own report, for a release that was signed without one  [default: the release's report].
        key: name of the auditor's key  [default: the setting `key`].

    Raises:
        VerificationError: the release does not verify, or the report is not about it, or contradicts itself.
        UsageError: there is nothing to countersign.
        ConfigError: the key is not an independent auditor's by the registry's keyring.
        RegistryError: the registry refuses or cannot be reached.
    """
    release, verified, source = _read(target, registry=registry, token=token, on_progress=on_progress)
    name = key or config.load().key
    trust, auditor = _find_auditor(verified, name)
    beside, report = b"", release.audit
    if audit is not None:
        release, beside = _with_own_report(release, Path(audit))
        report = AuditReport.parse(beside) if beside else release.audit
    if report is None:
        raise UsageError(
            f"{verified.repository} has no audit report to countersign",
            "audit the embedding on site, then give your report with --audit",
        )
    list(consistency.check_report(report, embedding=release.embedding))
    return Draft(release, verified, report, trust, name, auditor, source, beside)


def countersign(draft: Draft, *, ask_passphrase: AskPassphrase | None = None) -> Countersigned:
    """Sign what was prepared, judge it as every reader will, and send it as a commit of its own, or write it.

    Raises:
        ConfigError: no such key, no passphrase for it, or the folder cannot be written.
        BudgetExceededError: the report shows patients of this site, and a cap holds for one of them.
        VerificationError: what was signed does not verify.
        RegistryError: the registry refuses, or the repository has moved on meanwhile.
    """
    release, verified = _sign(draft, ask_passphrase)
    shown = {release_files.AUDIT: draft.beside} if draft.beside else {}
    charge_audit(release.with_files({**release.files, **shown}), known_only=True)
    status = verified.audit_in_words().partition(", ")[2]
    done = Countersigned(
        repository=verified.repository,
        version=verified.version,
        report=draft.report_digest,
        verdict=draft.report.verdict,
        status=f"kept beside the release's own report, by {draft.auditor.namespace}" if draft.beside else status,
        key=draft.auditor.fingerprint,
    )
    source = draft.source
    if source.hub is None:
        for name in (release_files.AUDIT, _place(draft)):
            write_atomic(source.folder / name, release.files[name])
        return replace(done, folder=str(source.folder))
    message = f"Countersign the audit report of {verified.card.name} {verified.version}"
    receipt = source.hub.push(release, verified.repository, onto=source.commit, message=message)
    return replace(done, commit=receipt.commit, url=receipt.url)


def _read(
    target: str | Path, *, registry: str | None, token: str | None, on_progress: OnProgress | None
) -> tuple[Release, Verified, Source]:
    if pulling.names_repository(target):
        hub = accounts.connect(registry, token=token)
        fetched = pulling.fetch(str(target), registry=registry, token=token, on_progress=on_progress)
        pulling.remember(fetched)
        return fetched.committed, fetched.verified, Source(hub, fetched.commit)
    if not Path(target).is_dir():
        raise UsageError(
            f"{target} is no release to countersign", "pass a repository or a folder that `embhub pull` wrote"
        )
    release = pulling.read_release(target)
    return release, pulling.verify_release(release, target=target), Source(folder=Path(target))


def _find_auditor(verified: Verified, name: str) -> tuple[Trust, KnownKey]:
    """The site's key `name` in the keyring that vouches for the release; ConfigError where it may not countersign."""
    own = keys.fingerprint(p256.read_public(keys.public_pem(name)))
    registry, publisher = verified.signer.registry, verified.signer.namespace
    trust = next(kept for kept in vouching.trusted_offline() if kept.registry == registry)
    key = trust.lookup(own)
    if key is None:
        raise ConfigError(
            f"the keyring of {registry} does not know your key {name} ({own})",
            "have its operator add it (`embhub key export`, `embhub-registry key add` with --role audit), then"
            " `embhub trust refresh`",
        )
    if "audit" not in key.roles:
        raise ConfigError(
            f"your key {name} ({own}) has no auditor role: its role is {', '.join(sorted(key.roles))}",
            "make another key, and have the registry's operator add it with --role audit",
        )
    if key.namespace == publisher:
        raise ConfigError(
            f"{publisher} published this release, and an organisation cannot countersign its own audit",
            "ask an auditor of another organisation",
        )
    if key.revocation is not None:
        raise ConfigError(
            f"your key {name} ({own}) is out of use since {key.revocation.date}: {key.revocation.reason}",
            "make a new key, and have the registry's operator add it with --role audit",
        )
    return trust, key


def _with_own_report(release: Release, path: Path) -> tuple[Release, bytes]:
    """The release with the auditor's own report; or as it is, and that report, where it has another one."""
    data = release_files.read_file(path, limit=release_files.LIMITS[release_files.AUDIT])
    if release.files.get(release_files.AUDIT, data) != data:
        return release, data
    return Release.from_files({**release.files, release_files.AUDIT: data}), b""


def _place(draft: Draft) -> str:
    """Where the attestation stands in the release: under the auditor's namespace, beside every other."""
    return release_files.audit_bundle_of(draft.auditor.namespace)


def _attest(draft: Draft, ask_passphrase: AskPassphrase | None, now: datetime) -> bytes:
    return attest_audit(
        draft.report,
        numbers=draft.verified.embedding.numbers,
        report_digest=draft.report_digest,
        registry=draft.trust.origin,
        repository=draft.verified.repository,
        version=draft.verified.version,
        key=load_key(draft.key, ask_passphrase),
        now=now,
    )


def _sign(draft: Draft, ask_passphrase: AskPassphrase | None) -> tuple[Release, Verified]:
    verified, now = draft.verified, datetime.now(UTC)
    attestation = _attest(draft, ask_passphrase, now)
    release = Release.from_files({**draft.release.files, _place(draft): attestation})
    return release, verification.verify(release, trust=draft.trust, repository=verified.repository, now=now)


def _count(report: AuditReport) -> str:
    if report.unit == "canary":
        return f"{report.members.units + report.nonmembers.units} made-up canaries"
    return f"{report.members.units} {report.unit}s trained on and {report.nonmembers.units} others"
