"""An audit that is registered before it runs: its design, a notice of it, and its result, as signed statements. Pure.

The design says what will be computed and seals both sides and the random seeds by a keyed commitment. The notice says
nothing but which file and which audit of it: its digest, which is all that the log holds, can be computed by everybody
who knows the file. So a reader finds every notice in the log alone, and the design is the entry after its notice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from pydantic import Field

from embhub.formats import instants, strict_json
from embhub.refusals import BadSignatureError, MalformedStatementError
from embhub.trust import bundle, dsse, kinds, p256, statement
from embhub.trust.bundle import Bundle
from embhub.trust.statement import Digest, Origin, Predicate, Sha256, Statement

SCHEMA = "embhub.audit-registration/1"
MOST = kinds.MOST_DESIGNS
MAX_BYTES = 4 * bundle.MAX_BYTES
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (FIPS 186-5)
_WORD = r"^[a-z][a-z0-9-]{0,63}$"

Word = Annotated[str, Field(pattern=_WORD)]
Number = Annotated[int, Field(ge=1, le=MOST)]


class DesignBounds(Predicate):
    """What `no-leak-detected` has to rule out."""

    auc: Annotated[float, Field(gt=0.5, le=1)]
    tpr: Annotated[float, Field(gt=0, le=1)]


class AuditDesign(Predicate):
    """`audit-design/v1`: what an audit of the subject will compute.

    `number` is that of the audit by the site's ledger. `commitment` is the report's: HMAC-SHA256 under the site's key
    over both sides, bounds, file and the id from which every seed follows.
    """

    registry: Origin
    number: Number
    suite: Word
    shadows: Annotated[int, Field(ge=0, le=1_000_000)]
    bounds: DesignBounds
    commitment: Digest
    tool: Annotated[str, Field(max_length=60)]
    created: instants.Instant


class AuditNotice(Predicate):
    """`audit-notice/v1`: audit `number` of the subject is about to run."""

    number: Number


class AuditResult(Predicate):
    """`audit-result/v1`: what came of a design, whatever the verdict. `design` is SHA-256 of what was signed (PAE)."""

    registry: Origin
    design: Sha256
    report: Sha256
    verdict: Word
    created: instants.Instant


@dataclass(frozen=True)
class Registration:
    """A design with its notice, both signed by one key."""

    design: Bundle
    notice: Bundle

    def to_bytes(self) -> bytes:
        """The file that may be carried to a machine with a network."""
        return _write(design=self.design, notice=self.notice)


def build_design(
    digest: str, *, registry: str, number: int, suite: str, shadows: int, bounds: Mapping[str, float],
    commitment: str, tool: str, created: datetime,
) -> Statement:  # fmt: skip
    """The statement of an audit that is about to run on the embedding with this SHA-256.

    Raises:
        MalformedStatementError: a value that no reader would accept.
    """
    facts = {
        "registry": registry, "number": number, "suite": suite, "shadows": shadows, "bounds": dict(bounds),
        "commitment": commitment, "tool": tool, "created": instants.write(created),
    }  # fmt: skip
    return statement.build(kinds.DESIGN, AuditDesign, digest, facts)


def build_result(
    digest: str, *, registry: str, design: str, report_digest: str, verdict: str, created: datetime
) -> Statement:
    """The statement of what came of the design with this identity. Raises as `build_design`."""
    facts = {
        "registry": registry, "design": {"sha256": design}, "report": {"sha256": report_digest}, "verdict": verdict,
        "created": instants.write(created),
    }  # fmt: skip
    return statement.build(kinds.RESULT, AuditResult, digest, facts)


def register(design: Statement, *, key: dsse.Signer) -> Registration:
    """Sign a design and its notice."""
    facts = read_design(design)
    notice = build_notice(design.digest, facts.number)
    return Registration(_bundle(design, key), _bundle(notice, key))


def sign_result(result: Statement, *, key: dsse.Signer) -> Bundle:
    """Sign a result."""
    return _bundle(result, key)


def build_notice(digest: str, number: int) -> Statement:
    """The one notice of this audit: the same bytes whoever writes it."""
    return statement.build(kinds.NOTICE, AuditNotice, digest, {"number": number})


@lru_cache(maxsize=4)
def notices(digest: str) -> Mapping[str, int]:
    """SHA-256 (hex) of what is signed in each notice about an embedding, with the audit's number."""
    written = {number: build_notice(digest, number).to_bytes() for number in range(1, MOST + 1)}
    return {dsse.Envelope(data, dsse.INTOTO, b"", "").identity: number for number, data in written.items()}


def notice_pae(digest: str, number: int) -> bytes:
    """What is signed in the notice of this audit."""
    return dsse.pae(dsse.INTOTO, build_notice(digest, number).to_bytes())


def check_signature(attestation: Bundle, key: p256.PublicKey) -> None:
    """As `dsse.verify`, and the smaller of both values of s: else there would be two entries of one signature.

    Raises:
        BadSignatureError: not signed by this key, or not in that form.
    """
    dsse.verify(attestation.envelope, public_key=key)
    if not is_low(attestation.envelope.signature):
        raise BadSignatureError("a signature of a registered audit is not in its one form", "register it anew")


def is_low(signature: bytes) -> bool:
    """Whether a DER signature has the smaller of both values of s."""
    try:
        return decode_dss_signature(signature)[1] <= _ORDER // 2
    except ValueError:
        return False


def read_design(stated: Statement) -> AuditDesign:
    """The facts of a design. Raises WrongPredicateError, MalformedStatementError."""
    return statement.read_as(stated, kinds.DESIGN, AuditDesign)


def read_result(stated: Statement) -> AuditResult:
    """The facts of a result. Raises as `read_design`."""
    return statement.read_as(stated, kinds.RESULT, AuditResult)


def write_result(result: Bundle) -> bytes:
    """The file of a result that may be carried to a machine with a network."""
    return _write(result=result)


def parse_file(data: bytes) -> Registration | Bundle:
    """A registration, or a result, from its file. No signature is checked.

    Raises:
        MalformedStatementError: neither of both. MalformedBundleError: a bundle in it is malformed.
    """
    try:
        document = strict_json.read_object(data, limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    return from_document(document)


def from_document(document: Mapping[str, Any]) -> Registration | Bundle:
    """As `parse_file`, from JSON that was read strictly."""
    if document.get("schema") != SCHEMA:
        raise _malformed(f"schema is not {SCHEMA}")
    held = {name: bundle.parse(json.dumps(value).encode()) for name, value in document.items() if name != "schema"}
    if held.keys() == {"result"}:
        read_result(held["result"].statement)
        return held["result"]
    if held.keys() != {"design", "notice"}:
        raise _malformed("it holds neither a design with its notice nor a result")
    design, notice = held["design"], held["notice"]
    facts = read_design(design.statement)
    expected = build_notice(design.statement.digest, facts.number).to_bytes()
    if notice.envelope.payload != expected or notice.hint != design.hint:
        raise _malformed("its notice is not that of its design")
    return Registration(design, notice)


def _bundle(stated: Statement, key: dsse.Signer) -> Bundle:
    signed = statement.sign(stated, key=key)
    first, second = decode_dss_signature(signed.signature)
    low = encode_dss_signature(first, min(second, _ORDER - second))
    return Bundle(dsse.Envelope(signed.payload, signed.payload_type, low, signed.keyid), key.fingerprint)


def _write(**bundles: Bundle) -> bytes:
    document = {name: json.loads(bundle.to_json(held.envelope)) for name, held in bundles.items()}
    return json.dumps({"schema": SCHEMA, **document}, separators=(",", ":")).encode("ascii") + b"\n"


def _malformed(reason: str) -> MalformedStatementError:
    return MalformedStatementError(f"not a registered audit: {reason}", "write it again with `embhub audit`")
