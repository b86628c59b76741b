"""What a reader study found, `reader-study.json`, and the figures of it that go on a card.

Counts, shares and intervals alone: no reader, image, patient, path or single rating.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embhub.cards.card_schema import SMALLEST_CELL
from embhub.cards.personal_data import personal_data
from embhub.errors import ArtifactError, PrivacyError
from embhub.formats import strict_json

SCHEMA = "embhub.reader-study/1"
MAX_BYTES = 100_000
TASK = "Reader study"
_HINT = "pass the file that `embhub research reader-study result --out` wrote"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Images = Annotated[int, Field(ge=SMALLEST_CELL, le=10**6)]
Word = Annotated[str, Field(min_length=1, max_length=100)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Figure(_Part):
    """One figure with its interval of 95 %."""

    value: Share
    low: Share
    high: Share


class ReaderStudyResult(_Part):
    """The result of one study, over readers who rated every image.

    `separation` is the mean area under the ROC curve: 0.5 where readers cannot separate generated images from real
    ones. `taken_for_real` and `taken_for_generated` are shares of generated and of real images, `finding_*` shares in
    which readers saw the finding. `readers` counts them by role.
    """

    schema_: Literal["embhub.reader-study/1"] = Field(default="embhub.reader-study/1", alias="schema")
    dataset: Word
    finding: Word | None
    embeddings: Annotated[list[Digest], Field(max_length=16)]
    readers: Annotated[dict[Word, Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=10)]
    real_images: Images
    generated_images: Images
    separation: Figure
    taken_for_real: Figure
    taken_for_generated: Figure
    finding_in_generated: Figure | None
    finding_in_real: Figure | None

    def to_json(self) -> str:
        """The document, ended by a line feed."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def parse_result(data: bytes) -> ReaderStudyResult:
    """Read a `reader-study.json`.

    Raises:
        ArtifactError: it is none, or its figures contradict one another.
    """
    try:
        found = ReaderStudyResult.model_validate(strict_json.read_object(data, limit=MAX_BYTES))
    except (strict_json.JsonError, ValidationError) as error:
        raise ArtifactError(f"this is no result of a reader study ({SCHEMA})", _HINT) from error
    figures = (getattr(found, name) for name in type(found).model_fields)
    if any(isinstance(one, Figure) and not one.low <= one.value <= one.high for one in figures):
        raise ArtifactError("a figure of the reader study lies outside its interval", _HINT)
    return found


def card_figures(result: ReaderStudyResult, embedding: str, *, private: bool) -> list[dict[str, Any]]:
    """Items for the card's `evaluation` field.

    A privacy claim covers what readers say of generated images, if the real images beside them are of other patients
    than those trained on. It does not cover real images, so figures that compare with real ones or are of real ones are
    left out where `private` says that the file carries a claim.

    Args:
        result: the study's result.
        embedding: SHA-256 of the file that the card is for.
        private: whether it carries a privacy claim.

    Raises:
        ArtifactError: the study's generated images are of another embedding, or do not say of which.
        PrivacyError: the data set's name or the finding looks like a person's.
    """
    if set(result.embeddings) != {embedding}:
        raise ArtifactError(
            "the reader study covers images of another embedding, or of several",
            "prepare a study with images that this embedding alone generated",
        )
    if personal_data(f"{result.dataset}\n{result.finding or ''}"):
        raise PrivacyError("the study's names look like a person's", "prepare it with a neutral --dataset")
    readers = describe_readers(result.readers)
    dataset = f"{result.dataset} ({result.generated_images} generated and {result.real_images} real images, {readers})"
    rows = [("share of generated images taken for real", result.taken_for_real, True)]
    if result.finding_in_generated is not None:
        rows.append((f"share of generated images that show: {result.finding}", result.finding_in_generated, True))
    rows.append(("separation of generated from real images, mean AUC of readers", result.separation, False))
    rows.append(("share of real images taken for generated", result.taken_for_generated, False))
    return [
        {
            "task": TASK, "dataset": dataset, "metric": metric, "value": round(figure.value, 3),
            "interval": [round(figure.low, 3), round(figure.high, 3)],
        }
        for metric, figure, of_generated in rows
        if of_generated or not private
    ]  # fmt: skip


def describe_readers(roles: Mapping[str, int]) -> str:
    """Readers in words: "3 readers: 2 radiologist, 1 researcher"."""
    total = sum(roles.values())
    each = ", ".join(f"{number} {role}" for role, number in roles.items())
    return f"{total} reader{'s' if total != 1 else ''}: {each}"
