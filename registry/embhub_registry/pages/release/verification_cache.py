"""What pages show of a release: verified once a commit and keyring, and kept for a while.

Verifying a release with a large report takes a second and more, and anybody may ask for its page.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from embhub.audits import audit_page, roc_figure
from embhub.audits.explanation import describe_attempt
from embhub.audits.report import AuditReport
from embhub.cards.card_schema import Card
from embhub.errors import EmbhubError
from embhub.formats import plain_png
from embhub.privacy import wording
from embhub.privacy.claim_or_none import is_claim
from embhub.release import verification
from embhub.release.checks.signers import Signer
from embhub.release.files import SAMPLES, Release, limit_of
from embhub.release.verification import Verified
from embhub_registry.database.clock import now
from embhub_registry.pages.release.page_facts import Audit, FindingRow, KeyOwner, Provenance, Rate
from embhub_registry.pages.release.snippets import Loading
from embhub_registry.repositories import repos
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.storage.folder import Registry

KEPT_FOR = timedelta(hours=1)  # remarks on the keyring's age are in days
MOST_BYTES = 32_000_000


@dataclass(frozen=True)
class AuditShown:
    """A report without its order of labels: the attack that decided, its curve, and the page that the core renders."""

    facts: Audit
    curve: str
    page: str


@dataclass(frozen=True)
class Shown:
    """What a verified release says."""

    card: Card
    loading: Loading
    version: str
    provenance: Provenance
    audit: AuditShown | None
    sheet: plain_png.Size | None = None  # of the samples, where there are some


@dataclass(frozen=True)
class Judged:
    """What verification said of a release, and when: one of `shown` and `problem` is set."""

    at: datetime
    keyring: int
    shown: Shown | None = None
    problem: EmbhubError | None = None

    @property
    def size(self) -> int:
        """About what it takes of memory."""
        audit = self.shown.audit if self.shown else None
        return 20_000 + (len(audit.curve) + len(audit.page) if audit else 0)


class VerificationCache:
    """Verdicts by commit and keyring version, the least recently asked for leaving first."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._kept: OrderedDict[tuple[str, str, int], Judged] = OrderedDict()
        self._guard = threading.Lock()
        self._held = 0
        self._most = most_bytes

    def recall(self, registry: Registry, snapshot: Snapshot) -> Judged | None:
        """The verdict that was reached before; None where there is none, or an old one."""
        key = _key(registry, snapshot)
        with self._guard:
            found = self._kept.get(key)
            if found is None or now() - found.at > KEPT_FOR:
                return None
            self._kept.move_to_end(key)
            return found

    def judge(self, registry: Registry, snapshot: Snapshot) -> Judged:
        """The verdict, reached now unless somebody else has just reached it."""
        found = self.recall(registry, snapshot)
        if found is None:
            found = _verify(registry, snapshot)
            self._keep(_key(registry, snapshot), found)
        return found

    def _keep(self, key: tuple[str, str, int], judged: Judged) -> None:
        if judged.keyring != key[2]:
            return  # the keyring changed meanwhile
        with self._guard:
            before = self._kept.pop(key, None)
            self._held += judged.size - (before.size if before else 0)
            self._kept[key] = judged
            while self._held > self._most:
                self._held -= self._kept.popitem(last=False)[1].size


def _key(registry: Registry, snapshot: Snapshot) -> tuple[str, str, int]:
    return snapshot.repository.full_name, snapshot.revision.id, registry.trust().keyring.version


def _verify(registry: Registry, snapshot: Snapshot) -> Judged:
    name, revision = snapshot.repository.full_name, snapshot.revision.id
    return judge_files(
        registry, repos.files(registry, snapshot), name=name, place=f"/{quote(name)}/tree/{revision}",
        report=f"/{quote(name)}/audit/{revision}",
    )  # fmt: skip


def judge_files(registry: Registry, files: Mapping[str, bytes], *, name: str, place: str, report: str) -> Judged:
    """The verdict on files, published or not, of which nothing is kept here.

    `place` is the page that it is for, `report` the address of the audit report.
    """
    release = Release.from_files({path: data for path, data in files.items() if limit_of(path) is not None})
    trust, moment = registry.trust(), now()
    try:
        found = verification.verify(release, trust=trust, repository=name, now=moment)
    except EmbhubError as error:
        return Judged(moment, trust.keyring.version, problem=error.with_traceback(None))
    shown = Shown(
        card=found.card, loading=Loading.of(found.embedding), version=found.version, provenance=_trace(found),
        audit=_show(found.report, found.card, title=f"{name} {found.version}", place=place, address=report)
        if found.report else None,
        sheet=plain_png.check(release.files[SAMPLES]) if found.card.samples else None,
    )  # fmt: skip
    return Judged(moment, trust.keyring.version, shown=shown)


def _trace(found: Verified) -> Provenance:
    """Who signed what and when, and every check."""
    attached = {"sheet of samples": found.card.samples, "audit report": found.report}
    return Provenance(
        signer=_owner(found.signer), signed=found.created,
        covers=("embedding", "card", *(name for name, part in attached.items() if part)),
        auditor=_owner(found.auditor) if found.auditor else None, independent=found.independent,
        findings=tuple(FindingRow(check=f.check, outcome=f.outcome, text=f.text) for f in found.findings),
    )  # fmt: skip


def _owner(signer: Signer) -> KeyOwner:
    revoked = f"{signer.revoked_as} on {signer.revoked_on[:10]}" if signer.revoked_on else None
    name = signer.name or signer.namespace
    return KeyOwner(namespace=signer.namespace, name=name, fingerprint=signer.fingerprint, revoked=revoked)


def _show(report: AuditReport, card: Card, *, title: str, place: str, address: str) -> AuditShown:
    """Figures of the attack that decided; of a test of the code, those of the claim."""
    best, claim, claimed = report.deciding_result, card.privacy, report.claim
    namespace = title.partition("/")[0]
    way_back = (
        audit_page.Crumb("All embeddings", "/"),
        audit_page.Crumb(namespace, f"/{quote(namespace)}"),
        audit_page.Crumb(title, place),
    )
    facts = Audit(
        verdict=report.verdict, statement=report.statement, suite=report.suite, attack=best.name,
        p_value=report.deciding.p_value, limit=report.deciding.limit, attempt=describe_attempt(report), auc=best.auc,
        interval=best.auc_interval, smallest_auc=report.power.smallest_auc, unit=report.unit,
        inside=report.members.units, outside=report.nonmembers.units,
        rates=tuple(
            Rate(fpr=rate.fpr, tpr=rate.tpr, interval=rate.interval)
            for rate in best.tpr_at_fpr
            if rate.tpr is not None and rate.interval
        ),
        claimed=claimed.epsilon if claimed else None, shown_epsilon=report.shown_epsilon,
        bound=wording.person(claim.unit, claim.epsilon, claim.delta) if claimed and is_claim(claim) else None,
        report=address,
    )  # fmt: skip
    return AuditShown(
        facts=facts,
        curve=roc_figure.draw(report.attacks, report.deciding.attack),
        page=audit_page.render(report, title=title, way_back=way_back),
    )
