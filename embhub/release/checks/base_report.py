"""What became of running embhub on a base model: named checks with their figures, signed by whoever ran it. Pure.

The subject is the SHA-256 of the base's fingerprint. A report is its signer's word: nobody can repeat it without the
weights. Every member is a number, a digest, one of a list, or a name of fixed form: the base's and the device's names
are the only ones that a signer could choose freely.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.errors import ArtifactError
from embhub.formats import instants, strict_json
from embhub.refusals import ReleaseRefusedError
from embhub.release.checks import signers
from embhub.trust import bundle, kinds, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from embhub.trust.statement import Digest, Origin, Predicate, Statement

SUBJECT = "base-fingerprint"
SCHEMA: Literal["embhub.base-report/1"] = "embhub.base-report/1"
CheckName = Literal[
    "loads", "same-weights", "trains", "learns", "reads-back", "audits", "generates", "right-size", "not-blank",
    "distinct", "repeats", "acts",
]  # fmt: skip
"""In the order in which they run; docs/how-to/base-families.md says what each asks."""
CHECKS: tuple[CheckName, ...] = get_args(CheckName)
Outcome = Literal["passed", "failed", "not-run"]
Measured = Literal[
    "seconds", "steps", "seconds_per_step", "before", "after", "vectors", "auc", "images", "seconds_per_image",
    "pixels", "least_spread", "different", "largest_difference", "mean_difference",
]  # fmt: skip

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)
_LONGEST = 80
BASE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})?$"
MOST_COMPONENTS = 24
LARGEST = 1e12
"""Of a figure, up or down."""
Family = Literal[
    "sd", "sdxl", "sd3", "flux", "flux2-klein", "kandinsky22-prior", "kandinsky22-decoder", "kandinsky22", "kandinsky3",
    "pixart", "qwen-image", "sana", "zimage", "unknown",
]  # fmt: skip
"""The names of `embhub.diffusion.families`, which imports torch."""
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,79}$")]
"""Of a class, a part of a pipeline or a number format, as programs name them."""
Version = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+[0-9A-Za-z.+-]{0,40}$")]
Device = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._()+:-]{0,79}$")]
"""As its maker names it: no path, no address, no line break."""
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]


class Check(BaseModel):
    """One question, how it came out, and what was measured; `fault` is the class of the error that it ended in."""

    model_config = _STRICT

    name: CheckName
    outcome: Outcome
    figures: Annotated[dict[Measured, Number], Field(max_length=4)]
    fault: Identifier | None


class Base(BaseModel):
    """The base by its own files. `revision` is the commit of the Hub that it was loaded from, None for a folder.

    `components` are the classes of the pipeline's parts, by the parts' names.
    """

    model_config = _STRICT

    name: Annotated[str, Field(pattern=BASE_NAME)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    family: Family
    pipeline: Identifier
    components: Annotated[dict[Identifier, Identifier], Field(max_length=MOST_COMPONENTS)]


class Program(BaseModel):
    """What ran: versions, and the digest of embhub's own files where a wheel brought them."""

    model_config = _STRICT

    embhub: Version
    build: Digest | None
    torch: Version
    diffusers: Version
    transformers: Version

    @property
    def line(self) -> str:
        """Major and minor version: reports by the same ones ran the same script."""
        return ".".join(self.embhub.split(".")[:2])


class Machine(BaseModel):
    """Where it ran. `peak_bytes` is the most memory of the GPU, or of the process where there is none."""

    model_config = _STRICT

    device: Device
    precision: Identifier
    peak_bytes: Annotated[int, Field(ge=0, le=2**50)]


class Report(BaseModel):
    """What was run, on which base, data and machine, and each check once, in the order of `CHECKS`."""

    model_config = _STRICT

    base: Base
    program: Program
    machine: Machine
    phantoms: Digest
    checks: Annotated[tuple[Check, ...], Field(min_length=len(CHECKS), max_length=len(CHECKS), strict=False)]

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the checks that passed."""
        return tuple(check.name for check in self.checks if check.outcome == "passed")

    @model_validator(mode="after")
    def _each_once(self) -> Report:
        if tuple(check.name for check in self.checks) != CHECKS:
            raise ValueError("the checks are not those of this version, once each and in order")
        return self

    def in_words(self) -> str:
        """What ran where, and how many checks passed."""
        fell = [check.name for check in self.checks if check.outcome != "passed"]
        said = f"ran on {self.base.name} on {self.machine.device}: {len(self.passed)} of {len(CHECKS)} checks passed"
        return said + (f"; not {', '.join(fell)}" if fell else "")


class _Signed(Predicate):
    """`base-report/v1`. Unknown members are refused, so that a changed program can publish nothing else with it."""

    model_config = _STRICT

    registry: Origin
    report: Report
    created: instants.Instant


class Unsigned(BaseModel):
    """A report's file before it was signed; `fingerprint` is the SHA-256 of the base's fingerprint."""

    model_config = _STRICT

    schema_: Literal["embhub.base-report/1"] = Field(default=SCHEMA, alias="schema")
    fingerprint: Digest
    report: Report

    def to_bytes(self) -> bytes:
        """The file: indented JSON."""
        return self.model_dump_json(by_alias=True, indent=1).encode() + b"\n"


class Reported(BaseModel):
    """One site's report on a base, as its signed statement gives it; `registry` is the keyring's that knows the key."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str
    institution: str
    fingerprint: str
    registry: str
    created: str
    key: str
    report: Report

    @property
    def agrees_by(self) -> tuple[object, ...]:
        """What two reports have in common that agree: the base, embhub's minor version, and each check's outcome."""
        return self.fingerprint, self.report.program.line, tuple(check.outcome for check in self.report.checks)


def spelled(text: str) -> str:
    """A device's name as a report may hold it."""
    return re.sub(r"[^A-Za-z0-9 ._()+:-]", "-", text.strip()).lstrip(" ._()+:-")[:_LONGEST] or "unknown"


def identifier(text: str) -> str:
    """The name of a class or a part as a report may hold it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", re.sub(r"^(?=[0-9])", "_", text))[:_LONGEST] or "unknown"


def build(fingerprint: str, report: Report, *, registry: str, created: datetime) -> Statement:
    """The statement by which a site reports on the base whose fingerprint has this SHA-256.

    Raises:
        MalformedStatementError: an origin that no reader would accept.
    """
    facts = {"registry": registry, "report": report.model_dump(mode="json"), "created": instants.write(created)}
    return statement.build(kinds.BASE_REPORT, _Signed, fingerprint, facts, name=SUBJECT)


def parse(data: bytes) -> Unsigned | Bundle:
    """A report's file, signed or not yet; nothing in it is verified.

    Raises:
        ArtifactError: it is neither, or larger than a report may be.
        ReleaseRefusedError: a bundle that is malformed.
    """
    try:
        document = strict_json.read_object(data, limit=kinds.BASE_REPORT.bytes)
        return bundle.parse(data) if "dsseEnvelope" in document else Unsigned.model_validate_json(data)
    except (strict_json.JsonError, ValidationError) as error:
        raise ArtifactError("this is no report on a base", "`embhub report` writes one") from error


def read_facts(payload: bytes) -> tuple[str, _Signed]:
    """The SHA-256 of the base's fingerprint, and what is stated of the base.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing, unknown or not of its form, or it is spelled in another way.
    """
    return statement.read_exactly(payload, kinds.BASE_REPORT, _Signed, name=SUBJECT)


def read(signed: Bundle, *, trusts: Sequence[Trust], fingerprint: str | None = None) -> Reported:
    """A report, its signature checked, on the base with this fingerprint; on any base where it is None.

    Raises:
        ReleaseRefusedError: malformed, on another base, or by a key that may not sign it.
    """
    subject, facts = read_facts(signed.envelope.payload)
    if fingerprint not in (None, subject):
        raise ReleaseRefusedError("a report is on another base", "fetch it again")
    trust, key, _ = signers.find(signed, kinds.BASE_REPORT, trusts=trusts, registry=facts.registry)
    signers.check_in_use(kinds.BASE_REPORT, key, created=facts.created)
    return Reported(
        namespace=key.namespace, institution=key.name or key.namespace, fingerprint=subject, registry=trust.registry,
        created=facts.created, key=key.fingerprint, report=facts.report,
    )  # fmt: skip


def agreeing(reports: Iterable[Reported]) -> list[list[Reported]]:
    """Reports in groups that agree, the largest group first, then the one with the oldest report.

    Of each namespace the newest on a base counts. In a group the oldest is first.
    """
    by_date = sorted(reports, key=lambda one: instants.read(one.created))
    last = {(one.namespace, one.fingerprint): one for one in by_date}
    groups: dict[tuple[object, ...], list[Reported]] = {}
    for one in (one for one in by_date if last[one.namespace, one.fingerprint] is one):
        groups.setdefault(one.agrees_by, []).append(one)
    return sorted(groups.values(), key=len, reverse=True)
