"""Registering an audit before it runs: sign its design, send it to the log, and send the result whatever it is."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.client.account import accounts, origins
from embhub.client.log import log_reader, logged
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, RegistryError
from embhub.ledger.audit_attempts import AuditPlan
from embhub.ledger.published_audits import charge_audit
from embhub.log import proofs
from embhub.log.proofs import LogProof
from embhub.release import files as release_files
from embhub.release import registered
from embhub.release.files import Release
from embhub.site import config
from embhub.site.pins import trust_store
from embhub.trust import audit_designs, p256
from embhub.trust import logged as entries
from embhub.trust.audit_designs import Registration
from embhub.trust.bundle import Bundle
from embhub.trust.dsse import Signer
from embhub.version import __version__

if TYPE_CHECKING:
    from embhub.client.wire.hub import Hub

_PAUSES = (0.0, 0.5, 1.0, 2.0)  # seconds before the log is asked again


@dataclass(frozen=True)
class Submitted:
    """What was sent. `index` is that of the design, or of the result, in the log; None where nobody could check it."""

    what: str
    embedding: str
    index: int | None
    log: str


@dataclass(frozen=True)
class Open:
    """A registered audit that has not ended: its design, and the key that signs its result."""

    registration: Registration
    key: Signer


def open_audit(
    file: Path, plan: AuditPlan, *, new: bool, registry: str | None, key: str | None, ask: AskPassphrase | None
) -> Open | None:
    """The registered audit that this plan is, signed now where `new`; None where it was not registered.

    Its files are written beside `file`. An audit that is continued keeps its design.

    Raises:
        UsageError: no registry is meant. ConfigError: no such key, or another one than signed the design.
    """
    before = registered.registration_beside(file)
    if before is not None and audit_designs.read_design(before.design.statement).commitment == plan.commitment:
        signer = load_key(key, ask)
        if signer.fingerprint != before.design.hint:
            raise ConfigError(
                f"the design beside {file.name} was signed with the key {before.design.hint}", "name it with --key"
            )
        return Open(before, signer)
    if not new:
        return None
    attempt, signer = plan.attempt, load_key(key, ask)
    design = audit_designs.build_design(
        attempt.file, registry=origins.to_sign_for(registry), number=attempt.number, suite=attempt.suite,
        shadows=attempt.shadows, bounds=plan.bounds, commitment=plan.commitment, tool=f"embhub {__version__}",
        created=datetime.now(UTC),
    )  # fmt: skip
    registration = audit_designs.register(design, key=signer)
    registered.write_registration(registration, file)
    return Open(registration, signer)


def end_audit(given: Open, file: Path, report: AuditReport) -> Path:
    """Sign the result of a registered audit, whatever its verdict, and write it beside the file.

    The verdict is published with it, so the site's privacy ledger charges the report as if it were signed.

    Raises:
        BudgetExceededError: a cap holds for somebody whom the report covers.
        ConfigError: the report is that of another audit than the registered one.
    """
    facts = audit_designs.read_design(given.registration.design.statement)
    if facts.commitment != report.commitment:
        raise ConfigError("the audit that ran is not the one that was registered", "register a new one")
    shown = {release_files.EMBEDDING: embedding.read_bytes(file), release_files.AUDIT: report.to_bytes()}
    charge_audit(Release.from_files(shown))
    result = audit_designs.build_result(
        report.artifact.sha256, registry=facts.registry, design=given.registration.design.envelope.identity,
        report_digest=release_files.digest(report.to_bytes()), verdict=report.verdict, created=datetime.now(UTC),
    )  # fmt: skip
    return registered.write_result(audit_designs.sign_result(result, key=given.key), file)


def carry_out(given: Open, target: Path) -> None:
    """Write a design where somebody fetches it who has a network. Raises ConfigError."""
    write_atomic(target, given.registration.to_bytes())


def submit(file: Path, *, registry: str | None = None, token: str | None = None) -> Submitted:
    """Send a design, or a result, that was written by `embhub audit`, and look it up in the log.

    Raises:
        MalformedStatementError: the file is neither. RegistryError: the registry refuses it, or its log has it not.
        ConfigError: no registry is set. LogError: the log's proof is wrong.
    """
    data = release_files.read_file(file, limit=audit_designs.MAX_BYTES)
    given = audit_designs.parse_file(data)
    hub = accounts.connect(registry, token=token)
    main = given.design if isinstance(given, Registration) else given
    digest = main.statement.digest
    hub.submit("designs", digest, json.loads(data), what=f"the audit of {digest[:12]}")
    what = "design" if isinstance(given, Registration) else "result"
    index, log = _find(hub, given)
    return Submitted(what, digest, index, log)


def _find(hub: Hub, given: Registration | Bundle) -> tuple[int | None, str]:
    """Where the log has what was sent. A design stands right after its notice, else no reader takes it for one."""
    try:
        trust = trust_store.load(hub.registry)
    except EmbhubError:
        return None, "not checked: the registry's keyring is not trusted here"
    if logged.known_key(trust) is None:
        return None, "the registry keeps no transparency log: no reader can see it there"
    if not isinstance(given, Registration):
        return _look(hub, given).index, trust.origin
    notice, design = _look(hub, given.notice).index, _look(hub, given.design).index
    if design != notice + 1:
        raise RegistryError(
            f"the log has the design at {design:,} and its notice at {notice:,}, not one after the other",
            "no reader takes this audit for registered: inform the registry's operator",
        )
    return design, trust.origin


def _look(hub: Hub, sent: Bundle) -> LogProof:
    from embhub.client.log.http_log import HttpLog, PacedLog
    from embhub.client.wire import guard

    trust = trust_store.load(hub.registry)
    log, known = logged.known_key(trust), trust.lookup(sent.hint)
    if log is None or known is None:
        raise RegistryError(f"the keyring kept here does not hold the key {sent.hint}", "`embhub trust refresh`")
    leaf = entries.leaf_of(sent.envelope, p256.read_public(p256.public_pem(known.public_key))).to_bytes()
    source = PacedLog(HttpLog(hub.registry, config.token_for(hub.registry)), seconds=guard.LONGEST_CALL)
    for pause in _PAUSES:
        time.sleep(pause)
        data = log_reader.proof(source, leaf)
        if data is not None:
            proof = proofs.parse(data)
            logged.compare(log, proof.open(leaf, log=log), source)
            return proof
    raise RegistryError("the registry took it, and its log has no entry for it", "inform the registry's operator")
