"""When a patient withdraws consent: find the releases concerned, withdraw them, log it, and leave proofs.

A proof is written for each release by itself, so that nobody who gets several can tell that they are about one person.
What is in it, and what its holder could compute: docs/how-to/erase-a-patient.md.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from embhub.client.account import accounts, origins
from embhub.client.statements import withdrawing
from embhub.durable import write_atomic
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.formats import instants, strict_json
from embhub.ledger import concerned
from embhub.site import config
from embhub.site.memory import evaluated_patients, runs, secret
from embhub.site.memory.patients import key_patient, tidy

SCHEMA = "embhub.erasure/1"
REASON = "withdrawn by its publisher"
STATEMENT = (
    "A person whose images may have been used asked for erasure. The commitment binds this file to that person; only"
    " the site that wrote it can open it."
)
Role = Literal["member", "held-out", "ledger"]


@dataclass(frozen=True)
class Concerned:
    """A file that the patient has to do with.

    `role`: trained on, held out for the audit, or `ledger` where only the ledger knows. `private`: with differential
    privacy, and `per_patient` whether that protects each patient, not each single image. `recipe`: whether this site
    could train it again by its record: no study, port or adapter. `published`: repository, version and registry of each
    release, "" where the registry is not known; `on_hub`: where copies of them are on the public Hub.
    """

    digest: str
    role: Role
    private: bool
    recipe: bool
    published: tuple[tuple[str, str, str], ...]
    on_hub: tuple[str, ...] = ()
    per_patient: bool = False


@dataclass(frozen=True)
class Plan:
    """What an erasure has to do with. `evaluations` are releases of which published evaluations count the patient,
    `half_audits` how many interrupted audits keep what they learned; other fields are those of
    `embhub.ledger.concerned.Found`.
    """

    files: tuple[Concerned, ...]
    audits: tuple[str, ...]
    unfinished: int
    alike: int
    studies: tuple[str, ...]
    evaluations: tuple[str, ...] = ()
    half_audits: int = 0

    @property
    def on_hub(self) -> list[str]:
        """Where on the public Hub copies are of what was trained on the patient."""
        return sorted({place for file in self.files if file.role != "held-out" for place in file.on_hub})

    @property
    def releases(self) -> list[tuple[str, str, str, str]]:
        """Repository, version, registry and digest of each release that was trained on the patient."""
        used = [file for file in self.files if file.role != "held-out"]
        return [(*release, file.digest) for file in used for release in file.published]


@dataclass(frozen=True)
class Erased:
    """One release of an erasure: `withdrawn` is whether the registry answered that it is, `proof` the file written."""

    id: str
    repository: str
    version: str
    digest: str
    withdrawn: bool = False
    refused: str = ""
    proof: str = ""


def find(patient_id: str, *, issuer: str = "") -> Plan:
    """Every file, release and audit of this site that a patient's images were used for. Nothing is changed.

    Raises:
        UsageError: the id is empty.
        ConfigError, LedgerTamperedError: the site's records are damaged.
    """
    if not tidy(patient_id):
        raise UsageError("the patient id is empty", "pass the id as the manifest or the DICOM header has it")
    names = {tidy(patient_id), key_patient(patient_id, issuer=issuer)}
    ledger = concerned.find(patient_id, issuer=issuer)
    known, published = {file.digest: file for file in ledger.files}, concerned.published()
    found: dict[str, Concerned] = {}
    for run in runs.find_all():
        role: Role | None = None
        if any(sample.patient_id in names for sample in run.members):
            role = "member"
        elif any(sample.patient_id in names for sample in run.holdout):
            role = "held-out"
        if role is not None:
            charged = known.get(run.embedding_digest)
            private = charged.private if charged else "protection" in run.settings
            unit = charged.unit if charged else run.settings.get("protection", {}).get("unit")
            told = published.get(run.embedding_digest, ())
            again = "recipe" in run.settings and ("protection" in run.settings or not private)
            found[run.embedding_digest] = Concerned(
                run.embedding_digest, role, private, again, told, per_patient=private and unit == "patient"
            )
    for file in ledger.files:
        if file.digest not in found:
            told, per_patient = published.get(file.digest, ()), file.private and file.unit == "patient"
            found[file.digest] = Concerned(file.digest, "ledger", file.private, False, told, per_patient=per_patient)
    _add_ports(found, concerned.ports(), published)
    copies = concerned.on_the_hub()
    files = tuple(replace(file, on_hub=copies.get(file.digest, ())) for file in found.values())
    return Plan(
        files, ledger.audits, ledger.unfinished, ledger.alike, ledger.studies,
        evaluated_patients.find({*names, key_patient(patient_id)}),  # evaluations know no issuers
        sum(1 for _ in (config.paths().state / "audits").glob("*")),
    )  # fmt: skip


def _add_ports(
    found: dict[str, Concerned], ports: Mapping[str, str], published: Mapping[str, tuple[tuple[str, str, str], ...]]
) -> None:
    """Add published ports of what was found, and ports of these: one made elsewhere has no record here."""
    while new := {port: source for port, source in ports.items() if source in found and port not in found}:
        for port, source in new.items():
            found[port] = replace(found[source], digest=port, recipe=False, published=published.get(port, ()))


def withdraw(
    plan: Plan, *, patient_id: str, reason: str = REASON, scope: str = "bytes", registry: str | None = None
) -> list[Erased]:  # fmt: skip
    """Withdraw every release that was trained on the patient. One that the registry refuses does not stop the others.

    One that was signed for another registry than a pinned one is refused here: it has to be withdrawn there.

    Raises:
        UsageError: the reason names the patient.
        ConfigError: no registry is set.
    """
    check_reason(reason, patient_id)
    hub = accounts.connect(registry)
    done = []
    for repository, version, signed_for, digest in plan.releases:
        erased = Erased(secrets.token_hex(8), repository, version, digest)
        try:
            if signed_for:
                origins.check_destination(signed_for, hub.registry)
            withdrawing.yank(hub, repository, version=version, reason=reason, scope=scope)
            done.append(replace(erased, withdrawn=True))
        except EmbhubError as error:
            done.append(replace(erased, refused=error.message))
    return done


def check_reason(reason: str, patient_id: str) -> None:
    """Refuse a reason that names the patient or looks like it: everybody reads it. Raises UsageError, PrivacyError."""
    withdrawing.check_reason(reason)
    if tidy(patient_id).casefold() in " ".join(reason.split()).casefold():
        raise UsageError("the reason contains the patient's id, and it is public", "say it without naming anybody")


def leave_proofs(
    erased: Sequence[Erased], *, patient_id: str, issuer: str = "", folder: Path, registry: str
) -> list[Erased]:
    """Write a proof for each release, and a line in the site's own log.

    A proof says what was withdrawn and on which day. Its commitment is an HMAC under the site's key: without that key
    nobody can test a guess.

    Raises:
        ConfigError: the folder or the log cannot be written, or holds such a proof already.
    """
    patient, day = key_patient(patient_id, issuer=issuer), instants.write(datetime.now(UTC))[:10]
    done = []
    for item in erased:
        document = {
            "schema": SCHEMA,
            "erasure": item.id,
            "date": day,
            "registry": registry,
            "repository": item.repository,
            "version": item.version,
            "sha256": item.digest,
            "withdrawn": item.withdrawn,
            "statement": STATEMENT,
            "commitment": _commit(item.id, patient, item.digest),
        }
        path = folder / f"erasure-{item.id}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write {folder}: {error.strerror}", "choose another --out") from error
        write_atomic(path, json.dumps(document, indent=1).encode() + b"\n")
        done.append(replace(item, proof=str(path)))
    return done


def log(erased: Sequence[Erased], *, retrained: Sequence[str] = ()) -> None:
    """Append to `state/erasures.jsonl`, for this user alone: it says where each proof is, and names no patient.

    Raises:
        ConfigError: it cannot be written.
    """
    path = config.paths().state / "erasures.jsonl"
    line = {
        "at": instants.write(datetime.now(UTC)),
        "releases": [asdict(item) for item in erased],
        "retrained": list(retrained),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", "check EMBHUB_HOME") from error


def is_about(proof: Path, patient_id: str, *, issuer: str = "") -> bool:
    """Whether a proof that this site wrote is about this patient; only here, where the site's key is, can it be told.

    Raises:
        UsageError: not a proof.
    """
    try:
        document = strict_json.read_object(proof.read_bytes()[:100_000], limit=99_999)
        facts = [str(document[name]) for name in ("erasure", "sha256", "commitment")]
    except (OSError, strict_json.JsonError, KeyError) as error:
        raise UsageError(
            f"{proof} is not a proof of erasure", "pass a file that `embhub curate erase` wrote"
        ) from error
    identity, digest, commitment = facts
    return secrets.compare_digest(_commit(identity, key_patient(patient_id, issuer=issuer), digest), commitment)


def explain(plan: Plan, *, replaced: bool) -> list[str]:
    """What the earlier and a new file would reveal together, in sentences."""
    sentences = []
    for place in plan.on_hub:
        sentences.append(
            f"A copy was published on the public Hub as {place}. Nothing here withdraws it: delete it there. Others may"
            " have it already."
        )
    if any(file.role != "held-out" and not file.private for file in plan.files):
        sentences.append(
            "A file without differential privacy and a new one that was trained without this patient differ by this"
            " patient: who has both can compare them and learn about that person. The new training also draws its"
            " noise anew, which hides some of it and bounds nothing."
        )
        sentences.append(
            "To avoid that: withdraw without a new version, wait until ten patients or more have changed, or train"
            " the new version and its successors with --epsilon. Copies of the earlier file stay where they are."
        )
    if any(file.role != "held-out" and file.per_patient for file in plan.files):
        sentences.append(
            "Of a file with differential privacy for each patient, the earlier and the new one together reveal about"
            " this patient no more than the earlier claim bounds, because the new training does not read the patient's"
            " images. That is about the two files alone: the withdrawal, and a smaller n_public of the new one, show"
            " that somebody is gone, and no epsilon covers them."
        )
    if any(file.role != "held-out" and file.private and not file.per_patient for file in plan.files):
        sentences.append(
            "A file with differential privacy for each image protects one image at a time. Of a patient with several"
            " images, the two files together may reveal far more than its epsilon says."
        )
    if replaced:
        sentences.append("The new files stay on this machine until you push them.")
    if any(file.role == "held-out" for file in plan.files):
        sentences.append(
            "Files that held the patient out were not trained on the patient's images; their audits used them."
        )
    return sentences


def to_json(plan: Plan, erased: Sequence[Erased], retrained: Sequence[str]) -> dict[str, Any]:
    """The result for a program. It names no patient."""
    return {
        "files": [asdict(file) for file in plan.files],
        "audits": list(plan.audits),
        "unfinished_trainings": plan.unfinished,
        "similar_ids": plan.alike,
        "studies": list(plan.studies),
        "evaluations": list(plan.evaluations),
        "interrupted_audits": plan.half_audits,
        "releases": [asdict(item) for item in erased],
        "retrained": list(retrained),
        "differencing": explain(plan, replaced=bool(retrained)),
    }


def _commit(identity: str, patient: str, digest: str) -> str:
    return secret.commit({"erasure": identity, "patient": patient, "digest": digest})


def registry_of(registry: str | None) -> str:
    """The address of the registry in force, as a proof names it."""
    return accounts.connect(registry).registry
