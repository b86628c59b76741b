"""`embhub research dataset`: draw every image of a data set, one at a time, so that it can be interrupted anywhere.

An image is written whole or not at all, and comes from its own seed (`painting`): what a call that is interrupted
leaves is what an uninterrupted one would have written, byte for byte, on the same kind of machine.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from embhub import destinations
from embhub.artifact import adapter_limits, fingerprint
from embhub.cards.personal_data import looks_like_patient
from embhub.diffusion.bases.pipelines import choose_device, find_base
from embhub.diffusion.datasets import asking, catalogue, description, floor, parquet_copy, plan, signed_table, sources
from embhub.diffusion.datasets.asking import Asked
from embhub.diffusion.datasets.painting import Loaded, Studio, Task, paint
from embhub.diffusion.datasets.plan import Picture, PlannedClass
from embhub.diffusion.datasets.sources import Origin
from embhub.diffusion.generation import dicom_files, noise_mark
from embhub.diffusion.generation.base_choice import choose_base
from embhub.diffusion.generation.generation import GUIDANCE, STEPS
from embhub.diffusion.generation.image_files import Origin as ImageOrigin
from embhub.diffusion.generation.image_files import encode_picture
from embhub.diffusion.generation.negatives import join_negative
from embhub.durable import alone, write_atomic
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.images.dicom_output import Series
from embhub.images.manifests.manifest import NAME as TABLE
from embhub.options.sampling import Sampling
from embhub.progress import OnProgress, Progress, announce


@dataclass(frozen=True)
class Made:
    """A finished data set: how many images it holds, how many of them an earlier call had drawn, what to be told.

    `c2pa` is the fingerprint of the key that signed `manifest.c2pa`.
    """

    folder: Path
    images: int
    found: int
    classes: Mapping[str, int]
    warnings: tuple[str, ...]
    c2pa: str = ""

    def facts(self) -> dict[str, Any]:
        """For a person."""
        return {
            "data set": str(self.folder),
            "images": f"{self.images} drawn{f', {self.found} of them earlier' if self.found else ''}",
            "classes": ", ".join(f"{label} ({count})" for label, count in self.classes.items()),
            "described in": ", ".join(description.FILES),
            **({"manifest.c2pa signed with": self.c2pa} if self.c2pa else {}),
            "warning": "; ".join(self.warnings),
        }


def make_dataset(
    out: str | Path,
    *,
    config: str | Path | None = None,
    classes: Sequence[str] = (),
    embeddings: Sequence[str] = (),
    base: str | None = None,
    per_class: int | None = None,
    seed: int | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    resolution: int | None = None,
    negative: str | None = None,
    negative_embeddings: Sequence[str] = (),
    no_card: Sequence[str] = (),
    terms_read: Sequence[str] = (),
    registry: str | None = None,
    device: str = "auto",
    sampling: Sampling | None = None,
    processes: int = 1,
    dicom: bool = False,
    burn_in: bool = False,
    c2pa: ManifestSigner | None = None,
    parquet: bool = False,
    below_floor: str | None = None,
    catalogue_facts: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Made:
    """Draw a labelled data set into `out`, or go on with one that was interrupted there.

    Args:
        out: a new folder, or one that the same call began.
        config: a file in YAML with classes and settings. What is given here takes precedence over it.
        classes: `LABEL=PROMPT` each.
        embeddings: the files, folders or repositories whose tokens the prompts mention.
        base: the base model; by default what the embeddings were made for.
        per_class: number of images of each class.
        seed: seed of the whole data set.
        steps: sampling steps; by default the base's own.
        guidance_scale: classifier-free guidance; by default the base's own.
        resolution: side of the images in pixels; by default what the embeddings were trained with.
        negative: what no image is to show: a prompt for all classes.
        negative_embeddings: embeddings whose tokens are added to `negative`.
        no_card: tokens of unsigned files without a card whose use the caller answers for.
        terms_read: tokens whose terms the caller has read, where no program can.
        registry: the registry of repositories that are named; by default the one that is configured.
        device: `auto`, or a torch device.
        sampling: scheduler, number format, and images computed together: one by default. In batches an image's bytes
            depend by rounding on its neighbours; batches are always the same, also when an interrupted call goes on.
        processes: how many generate images beside each other, each with a base of its own; on several GPUs in turn.
            It is not in the plan: images are the same up to the rounding of a processor with fewer threads each.
        dicom: whether each image gets a DICOM copy in the folder `dicom`.
        burn_in: whether SYNTHETIC is put into the pixels of the copies.
        c2pa: signs a C2PA manifest for the data set.
        parquet: whether the manifest gets a copy in Parquet, `manifest.parquet`; needs pyarrow.
        below_floor: why a label is wanted whose images show it in less than half of the cases, by the card.
        catalogue_facts: a file in YAML with what only people know, for a record by HealthDCAT-AP (`dcat.jsonld`).
        on_progress: called with each image.

    Returns:
        How many images the data set holds, and what to be warned of.

    Raises:
        PrivacyError: a label, a prompt or a name that the description bears looks like a person's.
        UsageError: a malformed request; `UseForbiddenError` where a licence or card forbids it or nobody answered
            for it; `BelowFloorError` where images do not show their label.
        VerificationError: a signed embedding that is not what a trusted publisher signed.
        ArtifactError: an embedding made for another base.
        ConfigError: the folder holds something else, another process is at it, or the disk is full; the same call goes
            on where it ended.

    Example:
        >>> import embhub
        >>> made = embhub.dataset(
        ...     "drawn", classes=["csPCa=prostate mri, <cspca>"], embeddings=["prostate-cspca.safetensors"],
        ...     no_card=["<cspca>"], per_class=2, steps=2,
        ... )
        >>> made.images, dict(made.classes)
        (2, {'csPCa': 2})
    """
    folder = Path(out)
    if looks_like_patient(folder.resolve().name):
        raise PrivacyError("the name of the folder looks like a person's", "its description bears it: choose another")
    asked = asking.read(
        Path(config) if config is not None else None, classes=classes, embeddings=embeddings, base=base,
        per_class=per_class, seed=seed, steps=steps, guidance=guidance_scale, resolution=resolution, negative=negative,
        negative_embeddings=tuple(negative_embeddings) or None,
    )  # fmt: skip
    facts = catalogue.read(Path(catalogue_facts)) if catalogue_facts is not None else None
    destinations.check_folder(folder)
    dicom_files.check(dicom=dicom, burn_in=burn_in)
    if parquet:
        parquet_copy.check()
    origins = sources.find(
        asked.targets,
        registry=registry, no_card=no_card, terms_read=terms_read,
    )  # fmt: skip
    if both := sorted({t for item in asked.classes for t in item.embeddings} & set(asked.negative_embeddings)):
        raise UsageError(f"{both[0]} is to be shown and not to be shown", "name it once")
    against = [origins[target] for target in dict.fromkeys(asked.negative_embeddings)]
    adapter_limits.refuse_negative(origin.embedding for origin in against)
    adapter_limits.refuse_quantized((origin.embedding for origin in origins.values()), sampling)
    planned = _plan(
        asked, {t: o for t, o in origins.items() if t not in asked.negative_embeddings}, from_words=config is None
    )
    planned = [replace(item, against=tuple(against)) for item in planned]
    floor.check(planned, below_floor)
    found = find_base(choose_base(asked.base, [origin.embedding for origin in origins.values()]))
    drawing: dict[str, Any] = {
        "per_class": asked.per_class,
        "seed": asked.seed,
        "steps": asked.steps or int(found.recommended.get("steps", STEPS)),
        "resolution": asked.resolution,
        "guidance": float(found.recommended.get("guidance", GUIDANCE) if asked.guidance is None else asked.guidance),
    }
    avoided = join_negative(asked.negative, [origin.embedding.token for origin in against])
    drawing |= {"negative": avoided} if avoided else {}
    known = {"name": found.name, "fingerprint": fingerprint.digest(fingerprint.take(found.folder))}
    document = plan.describe(planned, base=known, drawing=drawing, device=choose_device(device).type)
    sampling = sampling or Sampling()
    document |= {"below_floor": below_floor} if below_floor else {}
    document["mark"] = None if sampling.unmarked else noise_mark.SCHEME
    document["sampling"] = sampling.facts()
    if not document["sampling"]:
        del document["sampling"]  # as plans of one image at a time have always been
    plan.begin(folder, document)
    loaded = [Loaded.of(item, base=known["fingerprint"], marked=not sampling.unmarked) for item in planned]
    studio = Studio(loaded, drawing, found, sampling, device)
    with alone(folder):
        earlier = _draw_all(folder, planned, studio, processes, on_progress)
        pictures = [p for c in planned for p in c.pictures(asked.per_class, asked.seed)]
        description.write(folder, planned, pictures, document, parquet=parquet)
        if facts is not None:
            _write_record(folder, facts, list(origins.values()), document, pictures)
        signed_table.sign(c2pa, folder, planned, document, images=len(pictures))
        if dicom:
            _write_dicom(folder, planned, asked, document, burn_in=burn_in)
    warnings = dict.fromkeys(text for origin in origins.values() for text in origin.warnings)
    counts = {item.label: asked.per_class for item in planned}
    return Made(folder, len(pictures), earlier, counts, tuple(warnings), c2pa.key.fingerprint if c2pa else "")


def _plan(asked: Asked, origins: Mapping[str, Origin], *, from_words: bool) -> list[PlannedClass]:
    planned = []
    for item in asked.classes:
        named = [origins[target] for target in dict.fromkeys(item.embeddings)]
        chosen = sources.assign(item, named, all_of_them=not from_words)
        prompt = item.prompt.replace("{}", " ".join(origin.embedding.token for origin in chosen))
        planned.append(PlannedClass(item.label, item.folder, prompt, chosen))
    used = {origin.target for item in planned for origin in item.origins}
    if not origins:
        raise UsageError("no class has an embedding", "name one: --embedding FILE, with its token in a prompt")
    if idle := sorted(origins.keys() - used):
        token = origins[idle[0]].embedding.token
        raise UsageError(f"no prompt mentions {token}, the token of {idle[0]}", "write it into the prompt of its class")
    return planned


def _draw_all(
    folder: Path, planned: Sequence[PlannedClass], studio: Studio, processes: int, on_progress: OnProgress | None
) -> int:
    """Draw what is missing; returns how many were there."""
    announce(on_progress, "loading the base")
    clock = _Clock(len(planned) * studio.drawing["per_class"], on_progress)
    missing: set[str] = set()
    tasks: list[Task] = []
    for number, item in enumerate(planned):
        _sweep(folder / item.folder)
        pictures = list(item.pictures(studio.drawing["per_class"], studio.drawing["seed"]))
        lost = {p.path for p in pictures if not _is_whole(folder / p.path, studio.classes[number].origin)}
        for _ in range(len(pictures) - len(lost)):
            clock.found()
        # All of a batch, also where some are there: its rounding belongs to the whole.
        batches = _batches(pictures, studio.sampling.batch_size or 1)
        tasks += [Task(number, batch) for batch in batches if not lost.isdisjoint(picture.path for picture in batch)]
        missing |= lost
    with closing(paint(studio, tasks, processes=processes)) as painted:
        for task, images in painted:
            for picture, data in zip(task.pictures, images, strict=True):
                if picture.path in missing:
                    _write(folder, picture, data, clock)
                    clock.drew(picture.label)
    return clock.earlier


def _write_dicom(
    folder: Path, planned: Sequence[PlannedClass], asked: Asked, document: Mapping[str, Any], *, burn_in: bool
) -> None:
    """A study for the data set, a series for each class."""
    study = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    for item in planned:
        files = [picture.path for picture in item.pictures(asked.per_class, asked.seed)]
        digests = tuple(origin.embedding.digest for origin in item.origins)
        series = Series(study, item.folder, digests, document["base"]["fingerprint"], burn_in)
        dicom_files.write_copies(folder, files, series)


def _write_record(
    folder: Path, facts: catalogue.Facts, origins: Sequence[Origin], document: Mapping[str, Any],
    pictures: Sequence[Picture],
) -> None:  # fmt: skip
    listed = (folder / TABLE).read_bytes()
    size = len(listed) + sum((folder / picture.path).stat().st_size for picture in pictures)
    table = hashlib.sha256(listed).hexdigest()
    record = catalogue.write(facts, origins, document, images=len(pictures), size=size, table=table)
    write_atomic(folder / catalogue.NAME, record)


def _batches(pictures: Sequence[Picture], size: int) -> list[tuple[Picture, ...]]:
    return [tuple(pictures[first : first + size]) for first in range(0, len(pictures), size)]


def _write(folder: Path, picture: Picture, data: bytes, clock: _Clock) -> None:
    try:
        write_atomic(folder / picture.path, data)
    except ConfigError as error:
        raise ConfigError(
            f"{error.message} after {clock.done} of {clock.total} images",
            "free space; the same command resumes where this one ended",
        ) from error


def _sweep(folder: Path) -> None:
    """Parts of images that a call left when it was killed."""
    for part in folder.glob(".*.png.*"):
        part.unlink(missing_ok=True)


def _is_whole(path: Path, origin: ImageOrigin) -> bool:
    """Whether an image is there as it was written; one that a disk cut short or damaged is drawn again."""
    if not path.is_file():
        return False
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return encode_picture(image, origin) == path.read_bytes()  # decoders pass over a missing end
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


class _Clock:
    """Counts images, and says how long the rest will take at the pace of this call."""

    def __init__(self, total: int, on_progress: OnProgress | None) -> None:
        self.total, self.done, self.earlier = total, 0, 0
        self._on_progress, self._start = on_progress, time.monotonic()

    def found(self) -> None:
        self.done += 1
        self.earlier += 1

    def drew(self, label: str) -> None:
        self.done += 1
        if self._on_progress:
            each = (time.monotonic() - self._start) / (self.done - self.earlier)
            left = in_words(each * (self.total - self.done))
            self._on_progress(Progress("generating", self.done, self.total, f"{label}, {left} left"))


def in_words(seconds: float) -> str:
    """A time to wait, as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
