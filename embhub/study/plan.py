"""A study: what several sites agree on before a patient is read. Canonical JSON, named by its SHA-256.

Sites approve this digest, and everything that a step depends on stands in here: nothing can change midway. Nothing is
believed that can be computed. Noise, sampling rate and both epsilons are derived again whenever a study is read.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Literal, Self

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.errors import PrivacyError
from embhub.formats import strict_json
from embhub.formats.validation import Repository, explain
from embhub.privacy.contradictions import is_round, largest_delta
from embhub.privacy.epsilon import stated_range
from embhub.privacy.studies import MOST_SITES, StudyNoise
from embhub.study.grid import Grid, check_room
from embhub.study.wire import MAX_WIDTH, Digest, Site

SCHEMA: Final = "embhub.study/1"
MAX_BYTES: Final = 32_000
_ROOM = 8  # times the patients that a step expects: so many more are never sampled


def _printed(text: str) -> str:
    """An officer approves what a terminal shows: nothing in it may move the cursor."""
    if not text.isprintable():
        raise ValueError("text of a study is printed on one line: no control characters")
    return text


Text = Annotated[str, AfterValidator(_printed)]
Value = Text | int | float | bool | None
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class StudyError(PrivacyError):
    """A study that cannot be read, or whose figures do not follow from its numbers."""


class Study(BaseModel):
    """What is learned, by whom, and at what cost for each patient.

    Attributes:
        repository: where the release is published; its namespace proposes the study and coordinates it.
        base: the base's fingerprint; `base_name` is what people call it.
        frame: SHA-256 of the file of start rows and directions, which travels to the sites. An eigendecomposition
            differs between machines, and rows have to agree bit for bit.
        sites: namespaces of those that train, sorted.
        dropouts, colluders: how many may be missing in a step, and how many may join with the coordinator.
        n_public: the declared number of patients of all sites together; `batch` of them are expected in a step.
        attempts: how many steps are begun at most, lost ones included: the budget counts all of them.
        clip: longest gradient of a patient; `clip_units` of the grid are as long.
        share_variance: of each site's noise on each number, in squared units; `width` numbers are summed.
        epsilon, epsilon_against_sites: against those who are no site of the study, and for patients of other sites
            against `colluders` sites and the coordinator.
        recipe, preprocessing: the settings of the training by name.
        round_seconds: how long a site has for its patients in a step. It answers at the end of it, whoever was sampled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_: Literal["embhub.study/1"] = Field(default=SCHEMA, alias="schema")
    repository: Repository
    base: Digest
    base_name: Annotated[Text, Field(min_length=1, max_length=200)]
    caption: Annotated[Text, Field(min_length=1, max_length=500)]
    token: Annotated[Text, Field(min_length=1, max_length=64)]
    frame: Digest
    sites: Annotated[tuple[Site, ...], Field(min_length=2, max_length=MOST_SITES)]
    dropouts: Annotated[int, Field(ge=0, lt=MOST_SITES)]
    colluders: Annotated[int, Field(ge=0, lt=MOST_SITES)]
    n_public: Annotated[int, Field(ge=10, le=1_000_000_000)]
    batch: Annotated[int, Field(ge=1, le=4096)]
    attempts: Annotated[int, Field(ge=1, le=100_000)]
    max_images_per_patient: Annotated[int, Field(ge=1, le=100_000)]
    noise_draws: Annotated[int, Field(ge=1, le=64)]
    clip: Positive
    clip_units: int
    share_variance: int
    width: Annotated[int, Field(ge=1, le=MAX_WIDTH)]
    delta: Annotated[float, Field(gt=0.0, lt=1.0)]
    epsilon: Positive
    epsilon_against_sites: Positive
    recipe: dict[Text, Value]
    preprocessing: dict[Text, Value]
    round_seconds: Annotated[int, Field(ge=1, le=86_400)]
    withdrawal: Literal["any-site"] = "any-site"
    """Any site may withdraw before the release is published, and have it yanked afterwards."""

    @model_validator(mode="after")
    def _follows_from_its_numbers(self) -> Self:
        if list(self.sites) != sorted(set(self.sites)):
            raise ValueError("sites are sorted, each once")
        if not is_round(self.n_public) or self.batch > self.n_public:
            raise ValueError("n_public is a round number, and a step expects at most so many patients")
        if self.delta > largest_delta(self.n_public):
            raise ValueError(f"delta is above {largest_delta(self.n_public):g}")
        Grid(self.clip, self.clip_units, self.share_variance)
        check_room(
            clip_units=self.clip_units, share_variance=self.share_variance, sites=len(self.sites),
            patients=min(self.n_public, _ROOM * self.batch),
        )  # fmt: skip
        noise = self.noise
        for name, mechanism in (("epsilon", noise.against_outsiders), ("epsilon_against_sites", noise.against_sites)):
            stated, (least, most) = getattr(self, name), stated_range([mechanism], delta=self.delta)
            if not least <= stated <= most:
                found = noise.epsilon(mechanism, delta=self.delta)
                raise ValueError(f"{name} is {stated:g}, its numbers give {found:g}")
        return self

    @property
    def noise(self) -> StudyNoise:
        """The numbers that both epsilons follow from."""
        return StudyNoise(
            sites=len(self.sites), dropouts=self.dropouts, colluders=self.colluders, clip_units=self.clip_units,
            share_variance=self.share_variance, width=self.width, q=self.batch / self.n_public, steps=self.attempts,
        )  # fmt: skip

    @property
    def quorum(self) -> int:
        """The fewest sites in a step."""
        return len(self.sites) - self.dropouts

    @property
    def coordinator(self) -> str:
        """The namespace that proposes the study."""
        return self.repository.split("/")[0]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical form: what a site approves."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.model_dump(mode="json", by_alias=True))


def read_study(data: bytes) -> Study:
    """A study from its canonical bytes.

    Raises:
        StudyError: anything else, or figures that do not follow from its numbers.
    """
    try:
        value: dict[str, Any] = strict_json.read_object(data, limit=MAX_BYTES)
        if isinstance(value.get("sites"), list):
            value["sites"] = tuple(value["sites"])
        study = Study.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        raise StudyError(f"not a study: {explain(error)[:300]}") from error
    except ValueError as error:
        raise StudyError(f"not a study: {str(error)[:300]}") from error
    if study.to_bytes() != data:
        raise StudyError("the study is not written canonically (RFC 8785)")
    return study
