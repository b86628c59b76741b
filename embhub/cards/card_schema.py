"""The card `embhub.card/1` as a model: every field that a reader needs before using an embedding.

A field's description is what a person is asked when it is missing, and what docs/reference/card.md prints.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from embhub.artifact.derivation import Derivation, parse_derivation
from embhub.artifact.header import check_token
from embhub.cards.identifiers import Doi, Orcid, Ror, find_strangers
from embhub.cards.vocabulary import DEIDENTIFICATION, LONGEST_LICENCE, MODALITIES, check_code, check_licence
from embhub.errors import ArtifactError
from embhub.formats import group_counts
from embhub.privacy.claim_or_none import UncheckableClaimError, at_least, is_claim, parse_claim, plain

SCHEMA = "embhub.card/1"
SMALLEST_CELL = group_counts.SMALLEST_CELL
MOST_SAMPLES = 16
PLACEHOLDERS = frozenset({"", "todo", "tbd", "fixme", "xxx", "n.n", "fill in"})


def _check_text(text: str) -> str:
    if text != text.strip() or not text:
        raise ValueError("must be text without white space at its ends")
    if not all(char.isprintable() or char == "\n" for char in text):
        raise ValueError("has characters that cannot be printed")
    if text.strip("?.… ").lower() in PLACEHOLDERS:
        raise ValueError("is a placeholder, not an answer")
    return text


def _check_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("must be one line")
    return _check_text(text)


def _check_count(value: Any) -> Any:
    """A whole number from 1 up, or a range such as "50-100" with its lower end first."""
    if isinstance(value, str):
        match = re.fullmatch(r"([1-9][0-9]{0,8})-([1-9][0-9]{0,8})", value)
        if match is not None and int(match[1]) < int(match[2]):
            return value
    elif type(value) is int and 1 <= value < 1_000_000_000:
        return value
    raise ValueError('must be a whole number from 1 up, or a range in quotes such as "50-100"')


def _check_cell(value: Any) -> Any:
    if value == f"<{SMALLEST_CELL}":
        return value
    with suppress(ValueError):
        if int(str(_check_count(value)).partition("-")[0]) >= SMALLEST_CELL:
            return value
    raise ValueError(f'a group under {SMALLEST_CELL} people can point at a person: write "<{SMALLEST_CELL}"')


def _spell(value: Any) -> Any:
    """Codes and years are texts that YAML reads as numbers where a person leaves out the quotes."""
    return str(value) if type(value) is int else value


def _among(codes: Collection[str], otherwise: str) -> AfterValidator:
    def check(code: str) -> str:
        if code not in codes:
            raise ValueError(f"{otherwise}: {' '.join(codes)}")
        return code

    return AfterValidator(check)


def _check_token(token: str) -> str:
    try:
        check_token(token)
    except ArtifactError as error:
        raise ValueError(error.message) from error
    return token


def _check_privacy(claim: Any) -> Any:
    try:
        return parse_claim(claim)  # UnsupportedClaimError passes through: a broken promise is no slip of the pen
    except UncheckableClaimError as error:
        raise ValueError(error.message) from error


def _check_derivation(value: Any) -> Any:
    try:
        return None if value is None else parse_derivation(value)
    except ArtifactError as error:
        raise ValueError(error.message) from error


_MODALITY = _among(MODALITIES, "not a DICOM image modality (0008,0060); known")
_PROFILE = _among(DEIDENTIFICATION, "not a code of DICOM CID 7050")
Text = Annotated[str, Field(max_length=4000), AfterValidator(_check_text)]
Line = Annotated[str, Field(max_length=300), AfterValidator(_check_line)]
Number = Annotated[Line, BeforeValidator(_spell)]
Licence = Annotated[str, Field(max_length=LONGEST_LICENCE), AfterValidator(check_licence)]
Count = Annotated[int | str, BeforeValidator(_check_count)]
Cell = Annotated[int | str, BeforeValidator(_check_cell)]
Cells = Annotated[Mapping[Line, Cell], Field(min_length=1, max_length=50)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Link = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9][A-Za-z0-9._~:/?#@!$&'*+,;=%-]*$", max_length=300)]

if TYPE_CHECKING:
    from embhub.privacy.claim import PrivacyClaim

    Privacy = Literal["none"] | PrivacyClaim
    Origin = Derivation | None
else:  # their validators return nothing else, and a model that no card needs is not built for reading one
    Privacy = Annotated[Any, BeforeValidator(_check_privacy)]
    Origin = Annotated[Any, BeforeValidator(_check_derivation)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class BaseModelRef(_Part):
    """The base model whose token table the rows extend."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=193)
    revision: Number = Field(description="commit on the Hub, or the version for a base that ships with embhub")
    family: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=40, description="sd1, sd2, sdxl, …")
    fingerprint: str = Field(pattern=r"^([0-9a-f]{64}|unknown)$", description="digest of the base's fingerprint")
    licence: Licence


class VectorsRef(_Part):
    """Rows of one text encoder."""

    encoder: str = Field(pattern=r"^[a-z0-9_]+$", max_length=40)
    count: int = Field(ge=1, le=64)
    dim: int = Field(ge=1, le=8192)


class Code(_Part):
    """One concept of a code system."""

    system: Literal["RadLex", "SNOMED CT", "ICD-10", "ICD-11", "ICD-O", "local"] = "RadLex"
    code: Number
    display: Line

    @model_validator(mode="after")
    def _has_its_shape(self) -> Self:
        check_code(self.system, self.code)
        return self


class Population(_Part):
    """Who the patients are, in groups of ten and more."""

    age_bands: Cells | None = None
    sex: Cells | None = None
    region: Line | None = None
    setting: Line | None = None


class Acquisition(_Part):
    """How the images were made; no serial numbers."""

    manufacturer: tuple[Line, ...] = ()
    model: tuple[Line, ...] = ()
    years: Annotated[str, BeforeValidator(_spell), Field(pattern=r"^[12][0-9]{3}(-[12][0-9]{3})?$")] | None = None


class Labels(_Part):
    """Where the labels come from."""

    source: Line
    annotators: Line


class Deidentification(_Part):
    """What was done to the images before training."""

    profile: Annotated[tuple[Annotated[str, BeforeValidator(_spell), _PROFILE], ...], Field(min_length=1)]
    pixel_review: Literal["manual", "automatic", "not-needed", "none"]


class AuditSummary(_Part):
    """The site's own audit in three words; the report and its attestation hold the figures."""

    verdict: Literal["leak-detected", "no-leak-detected", "insufficient-evidence", "bounded-by-claim", "not-audited"]
    suite: Literal["quick", "standard", "thorough", "mechanism", "none"]
    power: Line = Field(description="the smallest leak that this audit would have seen")


class Evaluation(_Part):
    """One figure of use, with its interval."""

    task: Line
    dataset: Line
    metric: Line
    value: float = Field(allow_inf_nan=False)
    interval: Annotated[tuple[float, ...], Field(min_length=2, max_length=2)] | None = None


class Samples(_Part):
    """The contact sheet `samples.png` and what drew it; `embhub copy-check --sheet` writes it, no person does.

    `copy_check` is its verdict, or `not-run`: beside a privacy claim the verdict would itself be told of the patients.
    """

    sha256: Digest = Field(description="of samples.png")
    embedding: Digest = Field(description="of the embedding that drew it")
    images: int = Field(ge=1, le=MOST_SAMPLES)
    prompt: Line
    drawn_from: int = Field(ge=0, lt=2**63, description="the --seed of the first image")
    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0, le=100, allow_inf_nan=False)
    copy_check: Literal["no-copies-found", "not-run"]


class Card(_Part):
    """Everything that a stranger must know before using the embedding; see `docs/reference/card.md`."""

    schema_: Literal["embhub.card/1"] = Field(alias="schema", description="always embhub.card/1")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$", description="short name, as in ns/name")
    version: str = Field(
        pattern=r"^(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})$",
        description="X.Y.Z; grows with every release of this repository",
    )
    description: Text = Field(description="one or two sentences: what the embedding makes the base model generate")
    authors: Annotated[tuple[Line, ...], Field(min_length=1)] = Field(
        description="organisations, groups or people who made it and agreed to be named"
    )
    orcid: Annotated[Mapping[Line, Orcid], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="ORCID iDs of authors who agreed, each under the author's name as in authors"
    )
    publisher: Line = Field(description="the organisation responsible for this release")
    ror: Ror | None = Field(default=None, description="ROR of the publisher, such as https://ror.org/05wg1m734")
    contact_role: Line = Field(description="contact, as a role or a shared mailbox, not a person")
    licence: Licence = Field(description="SPDX licence of the embedding, such as CC-BY-4.0, or LicenseRef-Name")
    licence_link: Link = Field(description="URL of the licence text")
    doi: Doi | None = Field(default=None, description="DOI under which this release is cited, if it has one")
    base_model: BaseModelRef = Field(description="the base model: id, revision, family, fingerprint, licence")
    token: Annotated[str, AfterValidator(_check_token)] = Field(description="the placeholder token (computed)")
    kind: Literal["adapter"] | None = Field(
        default=None, description="adapter for a compact adapter; nothing for token embeddings (computed)"
    )
    target_modules: Literal["attention"] | None = Field(
        default=None, description="attention for an adapter of all attention layers; nothing otherwise (computed)"
    )
    vectors: Annotated[tuple[VectorsRef, ...], Field(min_length=1)] = Field(
        description="token embedding vectors per encoder; of an adapter its rank and the width of the text (computed)"
    )
    modality: Annotated[tuple[Annotated[str, _MODALITY], ...], Field(min_length=1)] = Field(
        description="DICOM modality codes (0008,0060), such as [MR]"
    )
    sequence: Line | None = Field(default=None, description="sequence, if the modality has one, such as T2w")
    view: Line | None = Field(default=None, description="view or plane, if applicable, such as PA or axial")
    anatomy: Annotated[tuple[Code, ...], Field(min_length=1)] = Field(
        description="body parts, each {system, code, display}; RadLex by default"
    )
    finding: tuple[Code, ...] = Field(description="findings, each {system, code, display}; [] for none (healthy)")
    n_patients: Count = Field(description='number of training patients, exact or a range in quotes such as "50-100"')
    n_images: Count = Field(description='number of training images, exact or a range in quotes such as "50-100"')
    max_images_per_patient: Count = Field(
        description="maximum number of images per patient, exact or a range in quotes"
    )
    population: Population | None = Field(
        default=None,
        description="age_bands, sex, region, setting; groups as numbers or ranges, under 10 as '<10'; "
        "an audit report states the total",
    )
    acquisition: Acquisition | None = Field(default=None, description="manufacturer, model, years; no serial numbers")
    labels: Labels = Field(description="source of the labels, and who annotated (by role)")
    preprocessing: Text = Field(description="what was done to the pixels before training")
    deidentification: Deidentification = Field(
        description="profile: [CID 7050 codes, or not-dicom]; pixel_review: manual, automatic, not-needed or none"
    )
    legal_basis: Line = Field(description="legal basis of the processing, such as GDPR Art. 9(2)(j) with national law")
    consent_or_waiver: Line = Field(description="consent, waiver or why neither is needed")
    ethics_ref: Line = Field(description="reference of the ethics decision, or why none is needed")
    intended_use: Text = Field(description="intended use; non-clinical")
    out_of_scope: Text = Field(description="what it must not be used for")
    limitations: Text = Field(description="known failures, and what was absent from training")
    synthetic_data: Literal["allowed", "research-only", "forbidden"] | None = Field(
        default=None,
        description="whether generated images may form a data set: allowed, research-only or forbidden",
    )
    privacy: Privacy = Field(
        description="the claim of the embedding's header (computed); none: trained without differential privacy"
    )
    derived_from: Origin = Field(
        default=None, description="the embedding that this one was ported from, as its header says (computed)"
    )
    audit: AuditSummary = Field(description="verdict, suite and power of the site's own audit")
    evaluation: tuple[Evaluation, ...] = Field(default=(), description="evaluation results, each with its interval")
    samples: Samples | None = Field(
        default=None, description="contact sheet of generated images, as recorded by `embhub copy-check --sheet`"
    )

    @model_validator(mode="after")
    def _no_group_follows_from_the_others(self) -> Self:
        """An audit report publishes the number of patients: `consistency.check_card` asks for more then."""
        if self.population is None:
            return self
        one_each = self.max_images_per_patient == 1  # then the images tell how many patients there are
        told = {name: table for name in ("age_bands", "sex") if (table := getattr(self.population, name))}
        totals = [self.n_patients, self.n_images] if one_each else [self.n_patients]
        if fault := group_counts.find_fault(told, totals):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _orcids_are_of_authors(self) -> Self:
        if fault := find_strangers(self.orcid or {}, self.authors):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _samples_passed_what_they_had_to(self) -> Self:
        """Without a privacy claim only the copy check lets images out. Beside one its verdict must not be told."""
        needed = "not-run" if is_claim(self.privacy) else "no-copies-found"
        if self.samples is not None and self.samples.copy_check != needed:
            covered = "a verdict on patients' images is not covered by the privacy claim"
            because = covered if needed == "not-run" else "without it no generated image is published"
            raise ValueError(f"samples.copy_check must be {needed}: {because}")
        return self

    @property
    def patients(self) -> int | str:
        """`n_patients` in words: beside a privacy claim, a number is the least that there are."""
        return at_least(self.n_patients, self.privacy)

    @property
    def images(self) -> int | str:
        """`n_images` in words, as `patients` is."""
        return at_least(self.n_images, self.privacy)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain data.

        Returns:
            Values by field name, in the order of the fields, without fields that were not answered.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=False)
        return data | {"privacy": plain(self.privacy)}  # whose nulls say something


FIELDS: Mapping[str, str] = {
    (field.alias or name): field.description or "" for name, field in Card.model_fields.items()
}
REQUIRED = tuple(field.alias or name for name, field in Card.model_fields.items() if field.is_required())
