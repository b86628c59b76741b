"""What a registry withdrew, signed: OSV-shaped entries in one document whose number only grows.

Pure: bytes in, values out. Who may withdraw what is the registry's matter; what an entry binds is decided in `against`.
The format: docs/reference/advisories.md. OSV: https://ossf.github.io/osv-schema/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.formats import instants, strict_json
from embhub.formats.validation import Namespace, OneLine, Repository, Version, explain
from embhub.refusals import MalformedAdvisoriesError
from embhub.trust import dsse, kinds, p256

ADVISORIES_TYPE, MAX_BYTES = kinds.ADVISORIES.type, kinds.ADVISORIES.bytes  # a trust export and a pin hold them
SCHEMA = "embhub.advisories/1"
OSV_VERSION = "1.7.0"
ECOSYSTEM = "embhub"
MAX_NODES = 200_000
MAX_REASON = 500

Scope = Literal["release", "bytes"]
By = Literal["publisher", "operator", "key-stolen"]


Number = Annotated[int, Field(ge=1, le=2**53)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[OneLine, Field(max_length=MAX_REASON)]
Identifier = Annotated[str, Field(pattern=r"^EMBHUB-[0-9a-f]{16}$")]
Origin = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?$")]


@dataclass(frozen=True)
class Advisory:
    """One withdrawal. `repository` is None where its readers alone may know the name: a private repository.

    `withdrawn_on` is the time at which the advisory itself was taken back: from then on it binds nobody. `digest` is
    the file's, `numbers` that of its numbers (`embhub.artifact.numbers`) where the registry knows it.
    """

    id: str
    scope: Scope
    by: By
    namespace: str
    repository: str | None
    version: str | None
    digest: str
    reason: str
    published: str
    withdrawn_on: str | None = None
    numbers: str | None = None

    def binds(self, *, namespace: str, repository: str, version: str, digest: str, numbers: str | None = None) -> bool:
        """Whether it speaks of this release.

        `release`: this version of this repository with these bytes. `bytes`: these bytes under any name, and these
        numbers under any header; a publisher's within their own namespace, an operator's and a stolen key's everywhere.
        """
        if self.withdrawn_on is not None:
            return False
        if self.scope == "bytes":
            if digest != self.digest and (numbers is None or numbers != self.numbers):
                return False
            return self.by != "publisher" or namespace == self.namespace
        named = digest == self.digest and self.repository in (None, repository)
        return named and namespace == self.namespace and self.version in (None, version)

    @property
    def sentence(self) -> str:
        """Who withdrew what, and why, for a person."""
        who = {
            "publisher": f"by its publisher {self.namespace}",
            "operator": "by the registry's operator",
            "key-stolen": "because the key that signed it was stolen",
        }[self.by]
        what = "these bytes were" if self.scope == "bytes" else "this release was"
        return f"{what} withdrawn {who} on {self.published[:10]}: {self.reason} ({self.id})"


def new(
    *, scope: Scope, by: By, namespace: str, repository: str | None, version: str | None, digest: str, reason: str,
    published: str, withdrawn_on: str | None = None, numbers: str | None = None,
) -> Advisory:  # fmt: skip
    """An advisory named by its own facts, so that the same withdrawal keeps its name however often it is written."""
    facts = rfc8785.dumps([scope, by, namespace, repository, version, digest, published])
    name = f"EMBHUB-{hashlib.sha256(facts).hexdigest()[:16]}"
    return Advisory(name, scope, by, namespace, repository, version, digest, reason, published, withdrawn_on, numbers)


class _Model(BaseModel):
    """Unknown members are ignored, so that later versions may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True, defer_build=True)


class _Specific(_Model):
    scope: Scope
    by: By
    namespace: Namespace
    sha256: Digest
    numbers: Digest | None = None


class _Package(_Model):
    ecosystem: Literal["embhub"] = "embhub"
    name: Repository


class _Affected(_Model):
    package: _Package | None = None
    versions: Annotated[tuple[Version, ...], Field(max_length=1)] = ()


class _Entry(_Model):
    schema_version: Annotated[str, Field(max_length=20)] = OSV_VERSION
    id: Identifier
    published: instants.Instant
    modified: instants.Instant
    withdrawn: instants.Instant | None = None
    summary: Reason
    affected: Annotated[tuple[_Affected, ...], Field(min_length=1, max_length=1)]
    database_specific: _Specific

    def to_advisory(self) -> Advisory:
        affected, own = self.affected[0], self.database_specific
        repository = affected.package.name if affected.package else None
        version = affected.versions[0] if affected.versions else None
        return Advisory(
            self.id, own.scope, own.by, own.namespace, repository, version, own.sha256, self.summary, self.published,
            self.withdrawn, own.numbers,
        )  # fmt: skip


class _Document(_Model):
    schema_: Literal["embhub.advisories/1"] = Field(alias="schema")
    registry: Origin
    number: Number
    issued: instants.Instant
    critical: tuple[str, ...] = ()
    advisories: tuple[_Entry, ...]

    @model_validator(mode="after")
    def _is_understood(self) -> _Document:
        if self.critical:
            raise ValueError(f"it has the critical member {self.critical[0][:40]!r}, which this version does not know")
        return self


@dataclass(frozen=True)
class Advisories:
    """A registry's withdrawals up to `number`. `registry` is the origin that the document names."""

    registry: str
    number: int
    issued: str
    entries: tuple[Advisory, ...] = ()

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(
            {
                "schema": SCHEMA,
                "registry": self.registry,
                "number": self.number,
                "issued": self.issued,
                "advisories": [to_osv(entry) for entry in self.entries],
            }
        )

    def sign(self, key: dsse.Signer) -> dsse.Envelope:
        """The document in a signed envelope."""
        return dsse.sign(self.to_bytes(), key=key, payload_type=ADVISORIES_TYPE)

    @staticmethod
    def parse(envelope: dsse.Envelope | Mapping[str, Any] | bytes, public_key: p256.PublicKey) -> Advisories:
        """Check the signature and read the document.

        Args:
            envelope: a DSSE envelope, as an object, as its JSON members or as bytes.
            public_key: the key that the registry's keyring names for advisories.

        Raises:
            MalformedEnvelopeError: not an envelope of this kind.
            BadSignatureError: not signed by `public_key`.
            MalformedAdvisoriesError: not such a document, or one with a critical member that is unknown here.
        """
        if not isinstance(envelope, dsse.Envelope):
            envelope = read_envelope(envelope)
        elif envelope.payload_type != ADVISORIES_TYPE:
            raise _malformed(f"payloadType is not {ADVISORIES_TYPE}")
        dsse.verify(envelope, public_key=public_key)
        return read_document(envelope.payload)

    def against(
        self, *, namespace: str, repository: str, version: str, digest: str, numbers: str | None = None
    ) -> tuple[Advisory, ...]:
        """The advisories that speak of a release, the gravest first: those on its bytes, then those on the release.

        Args:
            namespace: whose key signed the release.
            repository: `namespace/name`, as its statement says.
            version: as its statement says.
            digest: SHA-256 of the embedding, hex.
            numbers: the digest of its numbers, hex; None where the file is not at hand.
        """
        found = [
            entry
            for entry in self.entries
            if entry.binds(namespace=namespace, repository=repository, version=version, digest=digest, numbers=numbers)
        ]
        return tuple(sorted(found, key=lambda entry: (entry.scope != "bytes", entry.published, entry.id)))


def read_envelope(source: bytes | Mapping[str, Any]) -> dsse.Envelope:
    """An envelope of advisories, unchecked. Raises MalformedEnvelopeError."""
    if isinstance(source, bytes):
        try:
            source = strict_json.read_object(source, limit=MAX_BYTES)
        except strict_json.JsonError as error:
            raise _malformed(str(error)) from error
    return dsse.parse(source, payload_type=ADVISORIES_TYPE)


def to_osv(entry: Advisory) -> dict[str, Any]:
    """One advisory in the shape of OSV."""
    affected: dict[str, Any] = {}
    if entry.repository is not None:
        affected["package"] = {"ecosystem": ECOSYSTEM, "name": entry.repository}
    if entry.version is not None:
        affected["versions"] = [entry.version]
    document: dict[str, Any] = {
        "schema_version": OSV_VERSION,
        "id": entry.id,
        "published": entry.published,
        "modified": entry.withdrawn_on or entry.published,
        "summary": entry.reason,
        "affected": [affected],
        "database_specific": {
            "scope": entry.scope,
            "by": entry.by,
            "namespace": entry.namespace,
            "sha256": entry.digest,
        },
    }
    if entry.numbers is not None:
        document["database_specific"]["numbers"] = entry.numbers
    if entry.withdrawn_on is not None:
        document["withdrawn"] = entry.withdrawn_on
    return document


def build(registry: str, *, number: int, issued: str, entries: Iterable[Advisory]) -> Advisories:
    """The document to sign: its entries in one order, whatever order they came in."""
    ordered = sorted(entries, key=lambda entry: (entry.published, entry.id))
    return Advisories(registry, number, issued, tuple(ordered))


def read_document(payload: bytes, *, lists: int = 1) -> Advisories:
    """The document in an envelope, whose signature was checked, or cannot be; of the length of so many lists at most.

    Raises:
        MalformedAdvisoriesError: it is none.
    """
    try:
        document = strict_json.read_object(payload, limit=lists * MAX_BYTES, nodes=lists * MAX_NODES)
        found = _Document.model_validate_json(strict_json.canonical(document), by_name=False)
    except strict_json.JsonError as error:
        raise _malformed(str(error)) from error
    except ValidationError as error:
        raise _malformed(explain(error)) from error
    entries = tuple(entry.to_advisory() for entry in found.advisories)
    if len({entry.id for entry in entries}) != len(entries):
        raise _malformed("one advisory stands twice")
    return Advisories(found.registry, found.number, found.issued, entries)


def _malformed(reason: str) -> MalformedAdvisoriesError:
    return MalformedAdvisoriesError(
        f"not a list of advisories that embhub reads: {reason}",
        "refresh the keyring with `embhub trust refresh`; if it stays so, ask the registry's operator",
    )
