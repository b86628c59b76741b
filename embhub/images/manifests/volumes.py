"""A volumes file: which slices of which scans to use, whose they are and what they show. YAML or JSON, read strictly.

What it means, with examples: docs/how-to/use-dicom-and-nifti.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from embhub.cards.card_schema import Deidentification
from embhub.cards.personal_data import looks_like_patient
from embhub.errors import UsageError
from embhub.formats import safe_yaml
from embhub.images.readers.dicom_header import CHOICES
from embhub.images.readers.view import Channel as Colour
from embhub.images.readers.view import Plane, View
from embhub.images.readers.view import Window as Greys

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
NAMES = ("volumes.yaml", "volumes.yml", "volumes.json")
_MAX_BYTES = 1_000_000
_MOST = 1_000_000
_B_VALUE = re.compile(r"(?<![a-z0-9])b[0-9]{1,4}(?![0-9])", re.I)
_NUMBERED = re.compile(
    r"(?<![a-z])(?:patient|pat|pid|case|subject|sub(?=-))[ ._-]*[0-9]|[a-z][0-9]{4}|(?<![0-9])0[0-9]{3}", re.I
)
"""How a channel's name looks that is a patient's number: a series is numbered so by its b-value alone."""
_HINT = "see docs/how-to/use-dicom-and-nifti.md for what it may say"
COLUMNS = ("path", "patient_id", "label", "split", "mask")
"""Of a table of volumes."""


def _inside(pattern: str) -> str:
    parts = Path(pattern).parts
    if not parts or Path(pattern).is_absolute() or ".." in parts or "\\" in pattern:
        raise ValueError("a path inside the folder, with / between its parts and without ..")
    return pattern


Pattern = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_inside)]
Text = Annotated[str, Field(min_length=1, max_length=300)]
Place = Annotated[int, Field(ge=0, lt=_MOST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Number = Annotated[float, Field(gt=-1e12, lt=1e12, allow_inf_nan=False)]


def _known(series: dict[str, str | int | float]) -> dict[str, str | int | float]:
    if unknown := set(series) - set(CHOICES):
        raise ValueError(f"{len(unknown)} attributes that no series is chosen by; known: {', '.join(CHOICES)}")
    return series


Series = Annotated[dict[str, Text | int | float], Field(max_length=len(CHOICES)), AfterValidator(_known)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Window(_Part):
    """One of: `header` (the file's own, by number), `center` and `width`, `values`, `percentiles`."""

    header: Annotated[int, Field(ge=1, le=100)] | None = None
    center: Number | None = None
    width: Annotated[float, Field(gt=0, lt=1e12, allow_inf_nan=False)] | None = None
    values: tuple[Number, Number] | None = None
    percentiles: tuple[Number, Number] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Window:
        if (self.center is None) != (self.width is None):
            raise ValueError("center and width go together")
        ways = (self.header, self.center, self.values, self.percentiles)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("one of header, center and width, values, percentiles")
        self.greys()
        return self

    def greys(self) -> Greys:
        """What the readers take."""
        if self.center is not None and self.width is not None:
            return Greys("values", self.center - self.width / 2, self.center + self.width / 2)
        if self.values is not None:
            return Greys("values", *self.values)
        if self.percentiles is not None:
            return Greys("percentiles", *self.percentiles)
        return Greys("header", self.header or 1)


class Slices(_Part):
    """Which of a volume, counted from 0 towards right, front or head; one of the ways, with what belongs to it.

    `index`: these. `range`: from, to (included), every `step`-th. `fraction`: `count` evenly between two shares of the
    volume's length. `largest_mask`: the `count` slices with most of the mask in them.
    """

    index: Annotated[tuple[Place, ...], Field(min_length=1, max_length=10_000)] | None = None
    range: tuple[Place, Place] | None = None
    step: Annotated[int, Field(ge=1, lt=_MOST)] | None = None
    fraction: tuple[Share, Share] | None = None
    count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    largest_mask: Literal[True] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Slices:
        ways = {"index": self.index, "range": self.range, "fraction": self.fraction, "mask": self.largest_mask}
        chosen = [name for name, way in ways.items() if way is not None]
        if len(chosen) != 1:
            raise ValueError("one of index, range, fraction, largest_mask")
        if self.step is not None and self.range is None:
            raise ValueError("step belongs to range")
        if self.count is not None and chosen[0] not in ("fraction", "mask"):
            raise ValueError("count belongs to fraction or largest_mask")
        for pair in (self.range, self.fraction):
            if pair is not None and pair[0] > pair[1]:
                raise ValueError("from comes before to")
        return self


def _neutral(name: str) -> str:
    if looks_like_patient(name) or _NUMBERED.search(_B_VALUE.sub("", name)):
        raise ValueError("a name such as T2 or ADC; this one looks like a person's, a date or a record number")
    return name


class Channel(_Part):
    """A series that is one colour of the picture. What is not said comes from the entry; `name` goes on the card.

    `path` finds the NIfTI file; DICOM files are those of the entry, chosen by `series`.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 +._-]{0,29}$"), AfterValidator(_neutral)]
    path: Pattern | None = None
    series: Series = Field(default_factory=dict)
    time: Place = 0
    window: Literal["header"] | Window = "header"


class Entry(_Part):
    """Scans that one rule holds for; what is not said comes from the file's `defaults`."""

    path: Pattern
    patient_id: Text | None = None
    patient_folder: Text | None = None
    label: Annotated[str, Field(max_length=300)] = ""
    split: Literal["train", "holdout", ""] = ""
    series: Series = Field(default_factory=dict)
    plane: Plane | None = None
    slices: Literal["all", "middle"] | Slices = "all"
    time: Place = 0
    window: Literal["header"] | Window = "header"
    mask: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    channels: tuple[Channel, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Entry:
        _check_channels(self.channels)
        if self.patient_id is not None and self.patient_folder is not None:
            raise ValueError("patient_id or patient_folder")
        by_mask = isinstance(self.slices, Slices) and self.slices.largest_mask
        if by_mask and self.mask is None:
            raise ValueError("largest_mask needs a mask")
        return self

    def view(self, index: int, channels: tuple[Colour, ...] = (), plane: Plane | None = None) -> View:
        """What the readers take: a slice or frame, and the series that join it."""
        name = self.channels[0].name if channels else ""
        return View(index, plane, self.time if plane else 0, self.greys(), name, channels)

    def greys(self) -> Greys:
        """The window, as the readers take it."""
        return Greys() if isinstance(self.window, str) else self.window.greys()

    def parts(self) -> tuple[Entry, ...]:
        """The entry as it is for each of its channels; itself where it has none."""
        said = [channel.model_fields_set & {"series", "time", "window"} for channel in self.channels]
        return tuple(
            self.model_copy(update={name: getattr(channel, name) for name in names})
            for channel, names in zip(self.channels, said, strict=True)
        ) or (self,)


def _check_channels(channels: Sequence[Channel]) -> None:
    if not channels:
        return
    if not 2 <= len(channels) <= 3:
        raise ValueError("two or three channels: red, green and blue")
    if len({channel.name for channel in channels}) < len(channels):
        raise ValueError("each channel has a name of its own")
    if channels[0].path is not None:
        raise ValueError("the first channel's file is that of the entry's path")
    if len({channel.path is None for channel in channels[1:]}) > 1:
        raise ValueError("all channels after the first have a path (NIfTI), or none has (DICOM)")


class Statement(Deidentification):
    """What the site says of the images: goes into the record of the training, and into a card's `deidentification`.

    `identified_headers` true: headers that name patients may be read here; only pixels and keyed ids go on.
    """

    identified_headers: bool = False


class Volumes(_Part):
    """The whole file; `folder` is relative to it. `issuer` says who gave out the patients' ids.

    Entries stand in `volumes`, or in a `table`: a CSV file in the folder with a column `path`, and any of `patient_id`,
    `label`, `split` and `mask`. `defaults` hold for every entry that does not say otherwise.
    """

    schema_: Literal["embhub.volumes/1"] = Field(alias="schema")
    folder: str = "."
    issuer: Text | None = None
    deidentification: Statement | None = None
    defaults: dict[str, Any] = Field(default_factory=dict)
    volumes: tuple[Entry, ...] = ()
    table: Pattern | None = None

    @model_validator(mode="after")
    def _has_entries(self) -> Volumes:
        if bool(self.volumes) == (self.table is not None):
            raise ValueError("name volumes or a table of them")
        return self

    def rows(self, rows: Sequence[Mapping[str, str]]) -> tuple[Entry, ...]:
        """Entries from the rows of the table.

        Raises:
            UsageError: a row that is none; it is named by its line.
        """
        found = []
        for number, row in enumerate(rows, start=2):
            said = {name: row[name].strip() for name in COLUMNS if row.get(name, "").strip()}
            try:
                found.append(Entry.model_validate_json(json.dumps({**self.defaults, **said})))
            except ValidationError as error:
                raise UsageError(f"row {number} of the table of volumes: {_explain(error)}", _HINT) from None
        return tuple(found)


def is_volumes_file(path: Path) -> bool:
    """By its ending."""
    return path.suffix.lower() in SUFFIXES


def parse(data: bytes) -> Volumes:
    """The file's content, with its defaults laid under every entry.

    Raises:
        UsageError: not YAML or JSON, or not of this schema; the message says where, and repeats no value.
    """
    try:
        fields = safe_yaml.load(data, limit=_MAX_BYTES)
    except safe_yaml.YamlError as error:
        raise UsageError(f"the volumes file is not readable YAML: {_place(str(error))}", _HINT) from None
    if not isinstance(fields, dict) or not isinstance(defaults := fields.get("defaults") or {}, dict):
        raise UsageError("the volumes file is not a list of `name: value` lines", _HINT)
    if isinstance(entries := fields.get("volumes"), list):
        entries = [{**defaults, **entry} if isinstance(entry, dict) else entry for entry in entries]
        fields = {**fields, "volumes": entries}
    try:
        return Volumes.model_validate_json(json.dumps({**fields, "defaults": defaults}))
    except ValidationError as error:
        raise UsageError(f"the volumes file is not as it should be: {_explain(error)}", _HINT) from None


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, by names of the schema alone: an unknown key may be anybody's name."""
    models = (Window, Slices, Channel, Entry, Statement, Volumes)
    known = {name for model in models for name in model.model_fields} | {"schema"}
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in known)
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _place(message: str) -> str:
    return message if message.startswith("it ") else message.split(":")[0]
