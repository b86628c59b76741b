"""Drawn images on a card: the record of a contact sheet, and what is said beside it. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from embhub.cards.card_schema import Card, Samples
from embhub.copies.planted import FEWEST_CAUGHT, KINDS, NOT_LOOKED_FOR, PLANTED
from embhub.errors import ArtifactError, PrivacyError
from embhub.formats import strict_json
from embhub.privacy.claim_or_none import is_claim

if TYPE_CHECKING:
    from embhub.privacy.claim import Claim

SCHEMA = "embhub.sheet/1"
MAX_BYTES = 20_000
ALT = "Pictures that a computer drew; none is of a patient."
_HINT = "run `embhub copy-check --sheet` again, and pass the STEM.samples.json that it writes"


def write(samples: Samples) -> bytes:
    """The record, `STEM.samples.json`."""
    return json.dumps({"schema": SCHEMA, **samples.model_dump()}, indent=1, ensure_ascii=False).encode() + b"\n"


def read(data: bytes, *, sheet: str, embedding: str, claim: Claim) -> dict[str, Any]:
    """The card's `samples` from a record, for the embedding and the sheet with these SHA-256.

    Raises:
        ArtifactError: no such record, or one of another embedding or sheet.
        PrivacyError: the copy check that it needs was not made, or one was made beside a privacy claim.
    """
    try:
        values = strict_json.read_object(data, limit=MAX_BYTES)
        said = values.pop("schema", None)
        found = Samples.model_validate_json(json.dumps(values))
    except (strict_json.JsonError, ValidationError) as error:
        raise ArtifactError("the record of the samples cannot be read", _HINT) from error
    if said != SCHEMA:
        raise ArtifactError(f"the record of the samples is not one of {SCHEMA}", _HINT)
    if found.embedding != embedding:
        raise ArtifactError("these samples are of another embedding", _HINT)
    if found.sha256 != sheet:
        raise ArtifactError("the contact sheet beside the record is another one", _HINT)
    if found.copy_check != ("not-run" if is_claim(claim) else "no-copies-found"):
        raise PrivacyError("these samples were not generated under the embedding's own privacy claim", _HINT)
    return found.model_dump()


def caption(card: Card) -> str:
    """What stands below the sheet: that nothing in it is real, and what was checked by whom. "" without a sheet."""
    if card.samples is None:
        return ""
    shown = f"Generated, not real: {count(card.samples)} of “{card.samples.prompt}”, --seed {card.samples.drawn_from}."
    if card.samples.copy_check == "not-run":
        return (
            f"{shown} No copy check was made, since its outcome would itself depend on the patients. The publisher says"
            " that they were generated from the published numbers and the base model alone. Then they reveal no more of"
            " the patients that the embedding was trained on than its privacy claim allows. They may reveal images that"
            " the base model was trained on."
        )
    return (
        f"{shown} The publisher’s copy check found none strangely near to an image that the embedding was trained on."
        f" Of the copies planted on purpose it found at least {FEWEST_CAUGHT} of {PLANTED} of each of these kinds:"
        f" {'; '.join(KINDS)}. It did not look for: {'; '.join(NOT_LOOKED_FOR)}. This is the publisher’s word: nobody"
        " else can repeat it. It rules out no other likeness, and does not look at what the base model was trained on."
    )


def usual_prompt(card: Card, trained_caption: object) -> str:
    """What to try first: the prompt of the sheet of samples; else the caption of the training; else a plain one."""
    for said in (card.samples.prompt if card.samples else None, trained_caption):
        filled = said.replace("{}", card.token) if isinstance(said, str) else ""
        if card.token in filled:
            return filled
    return f"a scan with {card.token}"


def count(samples: Samples) -> str:
    """How many, in words."""
    return f"{samples.images} image{'' if samples.images == 1 else 's'}"
