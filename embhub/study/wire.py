"""Messages of one step, and what of them a site signs. Bytes in, checked parts out, or `StudyStepError`.

A signature covers a canonical statement (RFC 8785) that the reader writes anew from what it expects. So a message of
another study, step, site or kind never passes, and signatures travel without what they sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
import rfc8785
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, ValidationError

from embhub.errors import PrivacyError
from embhub.formats import strict_json
from embhub.formats.validation import Namespace, explain
from embhub.privacy.studies import MOST_SITES, check_sites
from embhub.refusals import BadSignatureError
from embhub.study.grid import Residues
from embhub.trust import dsse, p256

MAX_BYTES: Final = 1_000_000
MAX_WIDTH: Final = 1 << 17
TYPE: Final = "application/vnd.embhub.study-step+json"
_SCHEMA = "embhub.study-step/1"
_BOX_BYTES = 2 * 32 + 16


class StudyStepError(PrivacyError):
    """A message of a study's step is not what this site or the coordinator may accept; the step ends for it."""


def _sized(least: int, most: int) -> PlainValidator:
    def read(value: Any) -> bytes:
        data = value if isinstance(value, bytes) else dsse.decode(value)
        if not least <= len(data) <= most:
            raise ValueError(f"{len(data)} bytes where {least} to {most} belong")
        return data

    return PlainValidator(read)


_TEXT = PlainSerializer(dsse.encode)
Site = Annotated[Namespace, Field(max_length=64)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Block = Annotated[bytes, _sized(32, 32), _TEXT]
Signature = Annotated[bytes, _sized(8, 80), _TEXT]
Box = Annotated[bytes, _sized(_BOX_BYTES, _BOX_BYTES), _TEXT]
Vector = Annotated[bytes, _sized(4, 4 * MAX_WIDTH), _TEXT]
OfSites = Field(min_length=1, max_length=MOST_SITES)


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return rfc8785.dumps(self.model_dump(mode="json"))


class Keys(_Message):
    """A site begins a step: public keys for masks and boxes, a commitment to its own mask, and where it stands."""

    kind: Literal["keys"] = "keys"
    site: Site
    mask: Block
    cipher: Block
    commitment: Block
    state: Digest
    signature: Signature

    def facts(self) -> dict[str, str]:
        """What is signed."""
        return {
            "mask": self.mask.hex(),
            "cipher": self.cipher.hex(),
            "commitment": self.commitment.hex(),
            "state": self.state,
        }


class Roster(_Message):
    """Who began: the coordinator to each site."""

    kind: Literal["roster"] = "roster"
    keys: Annotated[tuple[Keys, ...], OfSites]


class Boxes(_Message):
    """Shares of a site's two secrets, for each other site a box; or, to a site, a box from each."""

    kind: Literal["boxes"] = "boxes"
    boxes: Annotated[dict[Site, Box], OfSites]


class Masked(_Message):
    """A site's masked vector, and the signed digest of it."""

    kind: Literal["masked"] = "masked"
    site: Site
    roster: Digest
    vector: Vector
    signature: Signature


class Header(_Message):
    """A masked vector without its numbers."""

    site: Site
    vector: Digest
    signature: Signature


class Survivors(_Message):
    """Whose vectors are summed: the coordinator to each of them."""

    kind: Literal["survivors"] = "survivors"
    headers: Annotated[tuple[Header, ...], OfSites]


class Agreement(_Message):
    """Signatures of sites on one list of survivors: from a site its own, from the coordinator all that came."""

    kind: Literal["agreement"] = "agreement"
    signatures: Annotated[dict[Site, Signature], OfSites]


class Shown(_Message):
    """What a site gives to unmask: of each survivor its share of the own mask, of each other its share of the key."""

    kind: Literal["shown"] = "shown"
    own: Annotated[dict[Site, Block], OfSites]
    keys: Annotated[dict[Site, Block], Field(max_length=MOST_SITES)]


Read = TypeVar("Read", bound=_Message)


def read(kind: type[Read], data: bytes) -> Read:
    """A message of one kind.

    Raises:
        StudyStepError: anything else.
    """
    try:
        value = strict_json.read_object(data, limit=MAX_BYTES)
        return kind.model_validate(_tuples(value))
    except ValidationError as error:
        raise StudyStepError(f"not a message {kind.__name__.lower()}: {explain(error)[:300]}") from error
    except ValueError as error:
        raise StudyStepError(f"not a message {kind.__name__.lower()}: {str(error)[:300]}") from error


def _tuples(value: Any) -> Any:
    """Lists as tuples: they are what strict models hold."""
    if isinstance(value, dict):
        return {name: _tuples(part) for name, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class Step:
    """Which step of which study, and who may speak in it.

    Attributes:
        study: digest of the study that every site's officer approved, in hex.
        number: of this attempt. A site begins each number once, whatever becomes of it: nothing here remembers that,
            and privacy rests on it.
        sites: the public key that each site signs this study's messages with, by namespace.
        dropouts: how many of them may be missing.
        colluders: how many of them may join with the coordinator.
        width: how many numbers are summed.

    Raises:
        ValueError: so few sites that two lists of survivors could each have a quorum (`check_sites`), or one key under
            two names.
    """

    study: str
    number: int
    sites: Mapping[str, p256.PublicKey]
    dropouts: int
    colluders: int
    width: int

    def __post_init__(self) -> None:
        check_sites(len(self.sites), self.dropouts, self.colluders)
        if len({key.public_numbers() for key in self.sites.values()}) < len(self.sites):
            raise ValueError("two sites of the study have one key: one of them could speak for both")

    @property
    def quorum(self) -> int:
        """The fewest sites in a sum, and the fewest shares that give a secret."""
        return len(self.sites) - self.dropouts

    def place(self, site: str) -> int:
        """A site's place in Shamir's scheme."""
        return sorted(self.sites).index(site) + 1

    def statement(self, kind: str, site: str, facts: Mapping[str, Any]) -> bytes:
        """The bytes that a site's signature covers."""
        everything: dict[str, Any] = {
            "schema": _SCHEMA,
            "kind": kind,
            "study": self.study,
            "step": self.number,
            "site": site,
            "facts": dict(facts),
        }
        return dsse.pae(TYPE, rfc8785.dumps(everything))

    def context(self, *parts: str) -> bytes:
        """What ties a derived key to this step."""
        return rfc8785.dumps([self.study, self.number, *parts])

    def check(self, kind: str, site: str, facts: Mapping[str, Any], signature: bytes) -> None:
        """Refuse what a site of this study did not sign.

        Raises:
            StudyStepError: no such site, or not its signature.
        """
        if site not in self.sites:
            raise StudyStepError(f"{site} is no site of this study")
        try:
            p256.verify(self.statement(kind, site, facts), signature=signature, key=self.sites[site])
        except BadSignatureError as error:
            raise StudyStepError(
                f"the message {kind} in the name of {site} is not signed by it for this step"
            ) from error


def roster_digest(keys: Mapping[str, Keys]) -> str:
    """Names the sites of a step with all their keys."""
    return hashlib.sha256(rfc8785.dumps([[site, keys[site].facts()] for site in sorted(keys)])).hexdigest()


def masked_facts(roster: str, vector: str) -> dict[str, str]:
    """What is signed of a masked vector; `vector` is its SHA-256 (hex)."""
    return {"roster": roster, "vector": vector}


def agreed_facts(roster: str, survivors: Mapping[str, str]) -> dict[str, Any]:
    """What is signed of a list of survivors and the SHA-256 (hex) of each vector."""
    return {"roster": roster, "survivors": dict(survivors)}


def vector_bytes(values: Residues) -> bytes:
    """Residues as little-endian numbers of 32 bits."""
    return values.astype("<u4").tobytes()


def vector_of(data: bytes, width: int) -> Residues:
    """The inverse of `vector_bytes`.

    Raises:
        StudyStepError: not `width` numbers.
    """
    if len(data) != 4 * width:
        raise StudyStepError(f"a vector of {len(data)} bytes, where {width} numbers of 4 bytes belong")
    return np.frombuffer(data, dtype="<u4").astype(np.uint32)
