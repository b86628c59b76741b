"""The card as README.md: front matter that the Hugging Face Hub reads, our card in it, and the same in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from embhub.cards import samples
from embhub.cards.card_schema import Card, Code
from embhub.cards.identifiers import DOI
from embhub.cards.vocabulary import DEIDENTIFICATION, MODALITIES, hub_licence
from embhub.errors import ArtifactError
from embhub.formats import safe_yaml
from embhub.formats.plain_text import join_alike
from embhub.privacy.claim_or_none import is_claim

MAX_BYTES = 200_000

PRIVACY_WORDS = "none: trained without differential privacy. Nothing bounds what the embedding tells about a patient."
VERDICT_WORDS = {
    "leak-detected": "The audit could tell training images from others: this embedding leaks membership.",
    "no-leak-detected": "The audit saw no leak that it was able to see; that does not show that there is none.",
    "insufficient-evidence": "The audit was too small or too weak to say anything: this is not evidence of safety.",
    "bounded-by-claim": "A test of the code on made-up data showed no more than the privacy claim allows.",
    "not-audited": "No audit was run.",
}


class BadReadmeError(ArtifactError):
    """README.md has no front matter, or no card in it."""


def to_readme(card: Card) -> bytes:
    """README.md of a release; the same card gives the same bytes.

    Verification asks for exactly these, so whatever changes them needs a new `schema` of the card.
    """
    return _rendered(_ByContent(card.model_dump_json(), card))


@dataclass(frozen=True)
class _ByContent:
    """A card, compared by all that it holds."""

    content: str
    card: Card = field(compare=False)


@lru_cache(maxsize=4)  # a registry compares each README.md that is pushed, and looks in it for persons
def _rendered(given: _ByContent) -> bytes:
    card = given.card
    return b"---\n" + safe_yaml.dump(_front_matter(card)) + b"---\n" + _body(card).encode("utf-8")


def read_front_matter(data: bytes) -> dict[str, Any]:
    """The values of the `embhub:` block of a README.md.

    Raises:
        BadReadmeError: no front matter, or no such block.
    """
    hint = "write the card with `embhub card init`, and let `embhub sign` render README.md from it"
    if len(data) > MAX_BYTES:
        raise BadReadmeError(f"README.md is {len(data):,} bytes; at most {MAX_BYTES:,} are read", hint)
    match = re.match(rb"---\n(.*?\n)---\n", data, re.DOTALL)
    if match is None:
        raise BadReadmeError("README.md does not start with front matter between --- lines", hint)
    try:
        values = safe_yaml.load(match[1], limit=MAX_BYTES)
    except safe_yaml.YamlError as error:
        raise BadReadmeError(f"the front matter of README.md cannot be read: {error}", hint) from error
    card = values.get("embhub") if isinstance(values, dict) else None
    if not isinstance(card, dict):
        raise BadReadmeError("the front matter of README.md has no `embhub:` card", hint)
    return card


def _front_matter(card: Card) -> dict[str, Any]:
    licence = hub_licence(card.licence)
    values: dict[str, Any] = {"license": licence}
    if licence == "other":
        values |= {"license_name": _slug(card.licence), "license_link": card.licence_link}
    if "/" in card.base_model.id:  # the Hub takes ids of its own alone
        values["base_model"] = card.base_model.id
    values |= {"library_name": "diffusers", "pipeline_tag": "text-to-image", "tags": _tags(card)}
    if card.evaluation:
        values["model-index"] = [
            {"name": card.name, "results": [_result(item.model_dump()) for item in card.evaluation]}
        ]
    values["embhub"] = card.to_dict()
    return values


def _tags(card: Card) -> list[str]:
    tags = [
        "embhub",
        "lora" if card.kind == "adapter" else "textual-inversion",
        *(f"modality:{code}" for code in card.modality),
    ]
    tags += [f"anatomy:{_slug(code.display)}" for code in card.anatomy]
    tags += [f"finding:{_slug(code.display)}" for code in card.finding]
    return list(dict.fromkeys(tags))


def _result(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "task": {"type": _slug(item["task"]), "name": item["task"]},
        "dataset": {"type": _slug(item["dataset"]), "name": item["dataset"]},
        "metrics": [{"type": _slug(item["metric"]), "name": item["metric"], "value": item["value"]}],
    }


def _body(card: Card) -> str:
    base = card.base_model
    rows = [
        ("Publisher", _prose(card.publisher)),
        ("Authors", _prose("; ".join(card.authors))),
        ("ORCID", _prose("; ".join(f"{name}: {orcid}" for name, orcid in (card.orcid or {}).items()))),
        ("ROR of the publisher", card.ror or ""),
        ("DOI", _prose(f"{DOI}{card.doi}") if card.doi else ""),
        ("Contact", _prose(card.contact_role)),
        ("Version", card.version),
        ("Licence", f"[{_prose(card.licence)}]({card.licence_link})"),
        ("Modality", ", ".join(f"{MODALITIES[code]} ({code})" for code in card.modality)),
        ("Sequence", _prose(card.sequence or "")),
        ("View", _prose(card.view or "")),
        ("Anatomy", _codes(card.anatomy)),
        ("Finding", _codes(card.finding) or "none"),
        ("Patients", _population(card)),
        ("Acquisition", _acquisition(card)),
        (
            "Training images",
            f"{card.images} of {card.patients} patients, at most {card.max_images_per_patient} each",
        ),
        ("Labels", f"{_prose(card.labels.source)}; {_prose(card.labels.annotators)}"),
        ("De-identification", ", ".join(DEIDENTIFICATION[code] for code in card.deidentification.profile)),
        ("Pixel review", card.deidentification.pixel_review),
        ("Legal basis", _prose(card.legal_basis)),
        ("Consent", _prose(card.consent_or_waiver)),
        ("Ethics", _prose(card.ethics_ref)),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows if value)
    return f"""
# {_prose(card.name)}

{_prose(card.description)}

{_what(card)} It is made for research and teaching, not for the care of patients.

| | |
|---|---|
{table}

## Privacy

{_privacy(card)}
{_ported(card)}
## Audit

Verdict of the publisher's own audit: **{card.audit.verdict}** (suite: {card.audit.suite}).
{VERDICT_WORDS[card.audit.verdict]} Power: {_prose(card.audit.power)}.

## Intended use

{_prose(card.intended_use)}

## Out of scope

{_prose(card.out_of_scope)}
{_synthetic_data(card)}
## Limitations

{_prose(card.limitations)}

## Preprocessing

{_prose(card.preprocessing)}
{_evaluation(card)}{_samples(card)}
## Base model

`{base.id}` (family {base.family}, revision {_prose(base.revision)}), under the licence {_prose(base.licence)},
whose terms bind every use of this embedding. Fingerprint: `{base.fingerprint}`.

## Use

    embhub pull NAMESPACE/{card.name}
    embhub generate "{card.token}" --embedding NAMESPACE/{card.name}

Both verify signatures, this card and the audit report of what they fetch; the base model is compared before loading.
"""


def _what(card: Card) -> str:
    if card.kind == "adapter":
        changes = "the keys and values by which the denoiser of the base model\n{} reads text"
        if card.target_modules == "attention":
            changes = "the attention layers of the denoiser of the base model\n{}"
        return (
            f"This is a compact adapter (LoRA) of rank {card.vectors[0].count}: it changes"
            f" {changes.format(f'`{card.base_model.id}`')}. Prompts ask for the finding with the text"
            f" `{card.token}`. It contains no image file."
        )
    vectors = join_alike(f"{item.count} x {item.dim} ({item.encoder})" for item in card.vectors)
    return (
        f"This is a textual inversion embedding: {vectors} numbers that teach the base model"
        f" `{card.base_model.id}` one new word,\n`{card.token}`. It contains no image file."
    )


def _privacy(card: Card) -> str:
    if is_claim(card.privacy):
        return "\n".join(f"- {_prose(sentence)}" for sentence in card.privacy.words())
    return PRIVACY_WORDS


def _ported(card: Card) -> str:
    if card.derived_from is None:
        return ""
    told = _prose(card.derived_from.sentence)
    carried = (
        " Its privacy claim is the source's and carries over by post-processing." if is_claim(card.privacy) else ""
    )
    return f"\n{told[0].upper()}{told[1:]}. The training images and patients named above are the source's.{carried}\n"


def _population(card: Card) -> str:
    if card.population is None:
        return ""
    tables = (card.population.age_bands, card.population.sex)
    groups = [f"{_prose(name)}: {_prose(str(count))}" for table in tables for name, count in (table or {}).items()]
    return "; ".join([*groups, *(_prose(text) for text in (card.population.region, card.population.setting) if text)])


def _acquisition(card: Card) -> str:
    if card.acquisition is None:
        return ""
    words = [*card.acquisition.manufacturer, *card.acquisition.model, *filter(None, [card.acquisition.years])]
    return ", ".join(_prose(word) for word in words)


def _evaluation(card: Card) -> str:
    if not card.evaluation:
        return ""
    lines = []
    for item in card.evaluation:
        interval = f" [{item.interval[0]:g}, {item.interval[1]:g}]" if item.interval else " (no interval stated)"
        lines.append(f"- {_prose(item.task)}, {_prose(item.dataset)}: {_prose(item.metric)} {item.value:g}{interval}")
    return "\n## Evaluation\n\n" + "\n".join(lines) + "\n"


def _samples(card: Card) -> str:
    if card.samples is None:
        return ""
    return f"\n## Samples\n\n![{samples.ALT}](samples.png)\n\n{_prose(samples.caption(card))}\n"


def _synthetic_data(card: Card) -> str:
    if card.synthetic_data is None:
        return ""
    return f"\nData sets of images drawn with it: **{card.synthetic_data}**.\n"


def _codes(codes: tuple[Code, ...]) -> str:
    return ", ".join(f"{_prose(item.display)} ({item.system} {_prose(item.code)})" for item in codes)


def _prose(text: str) -> str:
    """Text that stays text in Markdown: no tags, links, tables or headings of its own."""
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    line = re.sub(r"([\\`*_\[\]|~!])", r"\\\1", line)
    return re.sub(r"^([#>+=-]|\d+[.)])", r"\\\1", line)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "other"
