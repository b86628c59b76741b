"""What an inspection tells: counts, rows and standard names. No path, no patient id, no value from a file's header."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class Counts(_Part):
    """`listed` images were named by the source, `readable` could be opened, `different` pictures are among those."""

    listed: int
    readable: int
    different: int


class Size(_Part):
    """A width and height in pixels, and how many images have it."""

    width: int
    height: int
    images: int


class Kind(_Part):
    """A file format, Pillow's mode, bits a channel in the file, and how many images are so."""

    format: str
    mode: str
    bits: int
    images: int


class Deep(_Part):
    """Images of more than 8 bits: lowest and highest value of all, and how many hold no value beyond 255."""

    images: int
    lowest: float
    highest: float
    within_8_bits: int


class Patients(_Part):
    """How many, and how many readable images each has; `histogram` maps a number of images to a number of patients."""

    number: int
    fewest: int
    median: float
    most: int
    histogram: dict[int, int]


class Label(_Part):
    """A label and its readable images; `label` is None for those that look like a person's, and are not repeated."""

    label: str | None
    images: int


class Splits(_Part):
    """Readable images to learn from and kept back, and rows of other splits, which are not opened."""

    train: int
    holdout: int
    left_out: int


class Near(_Part):
    """Row `row` nearly shows the picture of row `like`; `other_patient` where the two are listed under two patients."""

    row: int
    like: int
    other_patient: bool


class Duplicates(_Part):
    """`exact`: images that repeat an earlier one; `across_patients`: pictures under two patients, exactly or nearly."""

    exact: int
    near: int
    across_patients: int
    pairs: tuple[Near, ...]


class Names(_Part):
    """Rows whose file name, patient id or label looks like a name, a date or a record number."""

    files: tuple[int, ...]
    patient_ids: tuple[int, ...]
    labels: tuple[int, ...]


class TextField(_Part):
    """A field with words in the files' headers, by its standard name, and how many images have it."""

    field: str
    images: int


class Identifier(_Part):
    """A DICOM attribute that names a person, by keyword and tag, and in how many files it holds something."""

    attribute: str
    tag: str
    files: int


class Ignored(_Part):
    """Files of a kind that are not read, and what can be done."""

    kind: str
    files: int
    remedy: str


class Refusal(_Part):
    """What `train` refuses: kind of error, its exit code, the words of the first of `cases`, the rows of all."""

    error: str
    exit_code: int
    message: str
    hint: str
    cases: int
    rows: tuple[int, ...]


class Inspection(_Part):
    """What is in a folder or manifest (docs/how-to/prepare-images.md). Rows are lines of the manifest, or places.

    `row_name` is `row`, `image` or `picture`, `dicom` counts files whose header was read, `resolution` is the base's in
    pixels, `under_half` the images that it refuses for their size. `refusals` and `warnings` are what `train` itself
    says, in its order; `remarks` are the inspection's own. `burned_text` are the rows of images with text in their
    pixels, None where none was looked for, and `text_unknown` those that could not be looked at.
    """

    schema_: Literal["embhub.inspection/1"] = Field(default="embhub.inspection/1", alias="schema")
    source: Literal["folder", "manifest", "volumes"]
    row_name: str
    images: Counts
    resolution: int
    under_half: int
    sizes: tuple[Size, ...]
    kinds: tuple[Kind, ...]
    deep: Deep | None
    patients: Patients | None
    labels: tuple[Label, ...]
    splits: Splits
    duplicates: Duplicates
    names: Names
    metadata: tuple[TextField, ...]
    with_metadata: int
    dicom: int = 0
    identifiers: tuple[Identifier, ...] = ()
    burned_text: tuple[int, ...] | None = None
    text_unknown: tuple[int, ...] = ()
    ignored: tuple[Ignored, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]
    not_looked_for: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether `train` would take these images with this base."""
        return not self.refusals

    @property
    def exit_code(self) -> int:
        """What `embhub train` would end with: 0, or the code of its first refusal."""
        return self.refusals[0].exit_code if self.refusals else 0

    def to_json(self) -> str:
        """The report for machines."""
        return self.model_dump_json(by_alias=True, indent=2)
