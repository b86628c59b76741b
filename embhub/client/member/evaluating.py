"""Publishing what this site found of a release that it pulled: say exactly what would leave, then sign and send it.

Before an evaluation runs for hours, `begin` finds out whether it could be published at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.cards.published_evaluation import Cohort, Figures, coarsen
from embhub.client.account import accounts
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.client.pulling import pull as pulling
from embhub.durable import write_atomic
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.formats import names
from embhub.ledger import studies
from embhub.ledger.books import ledger_exists
from embhub.privacy.claim_or_none import is_claim
from embhub.release.checks import evaluated
from embhub.site import config
from embhub.site.memory import evaluated_patients, runs
from embhub.site.pins import trust_store
from embhub.site.signing import keys
from embhub.trust import bundle, kinds, p256, statement
from embhub.trust.origin import origin_of
from embhub.version import __version__

if TYPE_CHECKING:
    from embhub.cards.evaluation import EvaluationReport
    from embhub.client.wire.hub import Hub
    from embhub.progress import OnProgress
    from embhub.release.verification import Verified
    from embhub.trust.keyring import KnownKey
    from embhub.trust.statement import Statement

STATEMENT = "evaluation.statement.json"


@dataclass(frozen=True)
class Target:
    """The release that an evaluation is of, verified, and the key that would sign. Nothing is signed yet."""

    hub: Hub
    verified: Verified
    key: str
    signer: KnownKey

    @property
    def own(self) -> bool:
        """Whether the site would publish an evaluation of its own release."""
        return self.signer.namespace == names.namespace_of(self.verified.repository)


@dataclass(frozen=True)
class Draft:
    """What would be published, to the byte but for its date: figures, statement, and of whom, which stays here."""

    target: Target
    figures: Figures
    statement: Statement
    cohort: Cohort

    def leaves(self) -> tuple[str, ...]:
        """What others will read, a sentence each."""
        found, target = self.figures, self.target
        who = target.signer.name or target.signer.namespace
        said = [
            f"{who} ({target.signer.namespace}) evaluated {target.verified.repository} {target.verified.version},"
            f" sha256 {target.verified.digest}",
            found.in_words(),
            f"data: {found.dataset}; finding: {found.finding}; classifier: {found.classifier}, {found.seeds} seeds;"
            f" at least {found.patients.training} patients in training",
            f"figures are rounded to {found.step}, intervals are widened; counts of patients are rounded down to tens",
        ]
        if target.own:
            said.append("it is marked as the publisher's evaluation of its own release")
        return tuple(said)

    @property
    def document(self) -> bytes:
        """The statement as it is signed, in readable JSON."""
        return json.dumps(json.loads(self.statement.to_bytes()), indent=1, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True)
class Published:
    """What was sent and where it is shown; `replaced` is the date of the earlier one, if any."""

    repository: str
    version: str
    embedding: str
    outcome: str
    namespace: str
    key: str
    replaced: str | None
    url: str


def begin(
    repository: str,
    *,
    key: str | None = None,
    registry: str | None = None,
    on_progress: OnProgress | None = None,
) -> Target:
    """Fetch and verify the release, and look whether this site's key may publish an evaluation of it.

    Args:
        repository: `namespace/name`, or `namespace/name@version`.
        key: Name of the key with the role `evaluate`. By default the setting `key`.
        registry: Address of the registry. By default as for `pull`.
        on_progress: Called with each step.

    Raises:
        UsageError: not the name of a repository.
        VerificationError: the release does not verify.
        ConfigError: there is no such key, or the registry's keyring gives it no role to evaluate.
        PrivacyError: it is of a study that this site's patients took part in, and this site did not sign it.
        RegistryError: the registry refuses or cannot be reached.
    """
    hub = accounts.connect(registry)
    fetched = pulling.fetch(repository, registry=registry, on_progress=on_progress)
    check_study(fetched.verified)
    name = key or config.load().key
    return Target(hub, fetched.verified, name, _find_signer(fetched.verified, name))


def check_study(verified: Verified) -> None:
    """Refuse the file of a study that this site joined and did not sign: no record names its own patients in it.

    Raises:
        PrivacyError: it is such a file.
        LedgerTamperedError, ConfigError: the ledger or the record cannot be read.
    """
    claim = verified.embedding.privacy
    if not (is_claim(claim) and claim.study and ledger_exists()) or runs.find(verified.digest) is not None:
        return
    if studies.find(claim.study.digest) is not None:
        raise PrivacyError(
            "patients of this site took part in the study of this release, and this site did not sign it",
            "leave the evaluation to a site that took no part: nobody can tell which of yours it was trained on",
        )


def prepare(target: Target, report: EvaluationReport, cohort: Cohort) -> Draft:
    """Round the figures, and lay out what would be published. Signs and sends nothing.

    Args:
        target: What `begin` found.
        report: The whole evaluation.
        cohort: Whose images it used; this stays here.

    Raises:
        PrivacyError: the figures would be of too few patients, or reveal one beside an earlier publication.
        ArtifactError: the evaluation is of other embeddings, or compares nothing.
    """
    verified = target.verified
    figures = coarsen(report, cohort, embedding=verified.digest)
    evaluated_patients.check(cohort)
    stated = evaluated.build(
        verified.digest, figures, registry=origin_of(verified.signer.registry), repository=verified.repository,
        version=verified.version, tool=f"embhub {__version__}", created=datetime.now(UTC),
    )  # fmt: skip
    return Draft(target, figures, stated, cohort)


def write(draft: Draft, folder: str | Path) -> Path:
    """Write the statement, unsigned, to a file in `folder`, and nothing else; returns its path.

    Raises:
        ConfigError: it cannot be written.
    """
    path = Path(folder) / STATEMENT
    write_atomic(path, draft.document)
    return path


def publish(draft: Draft, *, ask_passphrase: AskPassphrase | None = None) -> Published:
    """Sign what was shown, note of whom it is, and send it.

    Raises:
        ConfigError: no such key, or no passphrase for it.
        PrivacyError: another evaluation of nearly the same patients was published meanwhile.
        RegistryError: the registry refuses or cannot be reached.
    """
    target, verified = draft.target, draft.target.verified
    data = bundle.to_json(statement.sign(draft.statement, key=load_key(target.key, ask_passphrase)))
    evaluated_patients.remember(
        draft.cohort, registry=verified.signer.registry, repository=verified.repository, digest=verified.digest
    )
    what = f"evaluations of {verified.repository}"
    said = target.hub.submit("evaluations", verified.digest, json.loads(data), what=what)
    replaced = said.get("replaced") if isinstance(said, dict) else None
    return Published(
        repository=verified.repository, version=verified.version, embedding=verified.digest,
        outcome=draft.figures.outcome, namespace=target.signer.namespace, key=target.signer.fingerprint,
        replaced=replaced if isinstance(replaced, str) else None, url=f"{target.hub.registry}/{verified.repository}",
    )  # fmt: skip


def _find_signer(verified: Verified, name: str) -> KnownKey:
    fingerprint = p256.fingerprint(p256.read_public(keys.public_pem(name)))
    found = trust_store.load(verified.signer.registry).lookup(fingerprint)
    if found is None or kinds.EVALUATION.role_of(found.roles, own=False) is None:
        raise ConfigError(
            f"the keyring of {verified.signer.registry} gives the key {name!r} ({fingerprint}) no role to evaluate",
            f"ask for it: `embhub key request NAMESPACE --key {name} --role evaluate`; then `embhub trust refresh`",
        )
    if found.revocation is not None:
        raise ConfigError(f"the key {name!r} is out of use: {found.revocation.reason}", "name another key: --key")
    return found


def check_choices(
    repository: str | None, *, key: str | None, registry: str | None, yes: bool, dry_run: bool
) -> None:  # fmt: skip
    """Refuse options that belong to a publication where none is asked for.

    Raises:
        UsageError: they do not fit, or it is not the name of a repository.
    """
    if repository is None:
        if key or registry or yes or dry_run:
            raise UsageError(
                "--key, --registry, --yes and --dry-run belong to --publish-to",
                "name the release: --publish-to NS/NAME",
            )
        return
    names.check_repository(repository.partition("@")[0])
