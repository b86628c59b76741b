"""What drawing leaves on disk: numbered pictures, and a manifest to draw them again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from embhub import builtin_bases, destinations
from embhub.artifact import adapter_limits
from embhub.artifact.embedding import Embedding
from embhub.client.pulling.opening import Opened
from embhub.client.pulling.pull import open_target
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.generation import dicom_files, signed_files
from embhub.diffusion.generation.weighted_prompts import Part, check_words, parse_part
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.formats.synthetic_mark import GENERATED, SourceType, mark_png
from embhub.images.dicom_output import Series
from embhub.options.sampling import BATCH, Sampling
from embhub.progress import OnProgress, announce, say_loading
from embhub.version import __version__

if TYPE_CHECKING:
    from embhub.diffusion.generation.generation import Studio
    from embhub.images.c2pa_manifests.signing import ManifestSigner

MANIFEST, SHEET = "manifest.json", "series.png"
SERIES = 5
"""Pictures from one end to the other, where nobody says how many."""


@dataclass(frozen=True)
class Origin:
    """How images were made, as their metadata says it: SHA-256 digests of the embeddings shown and of the base."""

    embeddings: tuple[str, ...]
    base: str | None
    source_type: SourceType = GENERATED


@dataclass(frozen=True)
class Ask:
    """What is to be drawn and what not, as it was typed: prompts with weights, embeddings as files or repositories."""

    prompts: tuple[str, ...]
    embeddings: tuple[str, ...] = ()
    registry: str | None = None
    negative: str | None = None
    negative_embeddings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The prompts with their weights; one alone is taken as it stands, colons and all.

        Raises:
            UsageError: no prompt, or a weight that is none.
        """
        if not self.prompts:
            raise UsageError("there is nothing to generate", 'write a prompt: embhub generate "prostate mri, normal"')
        return (Part(self.prompts[0]),) if len(self.prompts) == 1 else tuple(map(parse_part, self.prompts))

    def open(self) -> list[Opened]:
        """The embeddings, verified where they are signed; raises as `embhub.client.pulling.opening.open_path`."""
        return [open_target(target, self.registry) for target in self.embeddings]

    def check_words(self, opened: Sequence[Opened], base: str | Path | None) -> None:
        """Refuse, before a base is loaded, a `<word>` that no embedding supplies. Raises UsageError."""
        if base in (None, *builtin_bases.NAMES):  # any other may have such tokens of its own
            check_words((part.prompt for part in self.parts), [item.embedding.token for item in opened])

    def open_negatives(self) -> list[Opened]:
        """The embeddings of what is not to be drawn, likewise. Raises UsageError for an adapter, too."""
        against = [open_target(target, self.registry) for target in self.negative_embeddings]
        adapter_limits.refuse_negative(item.embedding for item in against)
        return against


def generate_to_folder(
    ask: Ask,
    out: Path,
    *,
    n: int = 8,
    seed: int = 0,
    interpolate_to: str | None = None,
    slerp_to: str | None = None,
    series: int | None = None,
    sampling: Sampling | None = None,
    dicom: bool = False,
    burn_in: bool = False,
    c2pa: ManifestSigner | None = None,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> dict[str, Any]:
    """Generate images (see `generation`) or a series (`interpolation`) into `out`.

    A repository among the embeddings is fetched and verified first; so is a file or folder that is signed. A file that
    is not is used, and `warning` says so. `dicom` adds a DICOM copy of each image, `burn_in` the word SYNTHETIC to it.
    `c2pa` signs a manifest into each PNG.
    """
    parts = ask.parts
    dicom_files.check(dicom=dicom, burn_in=burn_in)
    signed_files.check(c2pa, [*ask.prompts, ask.negative, interpolate_to])
    destinations.check_folder(out)
    check_base(choices.get("base"), choices.get("device"))
    check_resolution(choices.get("base"), choices.get("resolution"))
    sampling = sampling or Sampling()
    if interpolate_to is not None or slerp_to is not None:
        if sampling.batch_size is not None:
            raise UsageError("a series has a batch size of its own", "leave out --batch-size")
        if dicom:
            raise UsageError("a series has no DICOM copies", "leave out --dicom")
        choices["sampling"] = sampling
        choices["c2pa"] = c2pa
        return _series_to_folder(ask, out, interpolate_to, slerp_to, series or SERIES, n, seed, on_progress, choices)
    if series is not None:
        raise UsageError("a series to where?", "pass --interpolate-to PROMPT or --slerp-to FILE")
    opened, against = ask.open(), ask.open_negatives()
    ask.check_words(opened, choices.get("base"))
    choices = {**choices, "negative": ask.negative, "negative_embeddings": [item.embedding for item in against]}
    say_loading(on_progress)
    from embhub.diffusion.generation.composition import check_mixing
    from embhub.diffusion.generation.generation import draw, prepare

    announce(on_progress, "loading the base")
    choices["check"] = partial(check_mixing, parts)
    studio = prepare([item.embedding for item in opened], sampling=sampling, mark=not sampling.unmarked, **choices)
    drawing: dict[str, Any] = {"n": n, "seed": seed, "steps": studio.steps, "guidance_scale": studio.guidance}
    drawing |= {"side": studio.side, "negative": studio.negative, "batch_size": sampling.batch_size or BATCH}
    drawing |= {"mark": studio.mark}
    pictures = draw(studio.pipe, studio.fill(parts), **drawing, on_progress=on_progress)
    origin = origin_of(opened, studio)
    files = [write_picture(picture, out / f"{number:04d}.png", origin) for number, picture in enumerate(pictures)]
    facts = {**describe_parts(parts), "n": n, "seed": seed, **studio.facts(), **sampling.facts()}
    facts |= {"embeddings": describe(opened, against)}
    if dicom:
        study = dicom_files.study_of(out, files)
        copies = Series(study, "generated", origin.embeddings, origin.base, burn_in)
        facts["dicom"] = dicom_files.write_copies(out, files, copies)
    base = studio.base.name, origin.base
    facts |= signed_files.sign(c2pa, out, files, opened=opened, base=base, prompt=describe_parts(parts))
    write_manifest(out, "embhub.samples/1", {**facts, "files": files})
    return report(out, len(files), [*opened, *against])


def _series_to_folder(
    ask: Ask,
    out: Path,
    end: str | None,
    slerp_to: str | None,
    series: int,
    n: int,
    seed: int,
    on_progress: OnProgress | None,
    choices: dict[str, Any],
) -> dict[str, Any]:
    if len(ask.prompts) != 1 or (end is not None and slerp_to is not None):
        raise UsageError("a series goes from one prompt one way", "give --interpolate-to or --slerp-to, and no --and")
    opened, against = ask.open(), ask.open_negatives()
    turned = [open_target(slerp_to, ask.registry)] if slerp_to is not None else []
    say_loading(on_progress)
    from embhub.diffusion.generation.base_choice import choose_base
    from embhub.diffusion.generation.generation import prepare
    from embhub.diffusion.generation.interpolation import check_ends, draw_series, open_siblings, settle_between

    signer: ManifestSigner | None = choices.pop("c2pa")
    loaded = [item.embedding for item in opened]
    siblings = open_siblings(loaded, turned[0].embedding) if turned else None
    if siblings:
        choices = {**choices, "base": choose_base(choices.get("base"), siblings)}
    choices = {**choices, "negative": ask.negative, "negative_embeddings": [item.embedding for item in against]}
    announce(on_progress, "loading the base")
    if end is not None:
        choices["check"] = partial(check_ends, ask.prompts[0], end)
    studio = prepare([] if siblings else loaded, mark=not (siblings or choices["sampling"].unmarked), **choices)
    if siblings:
        studio = settle_between(studio, siblings, choices.get("resolution"))
    drawn = draw_series(
        studio, ask.prompts[0], siblings or str(end), series=series, n=n, seed=seed, on_progress=on_progress
    )
    origin = origin_of([*opened, *turned], studio)
    pictures = [
        {"file": write_picture(picture, out / f"{row:04d}-{column:03d}.png", origin), "seed": seed + row,
         "weight": weight}
        for row, line in enumerate(drawn.pictures)
        for column, (picture, weight) in enumerate(zip(line, drawn.weights, strict=True))
    ]  # fmt: skip
    write_picture(drawn.sheet(), out / SHEET, origin)
    ends = {"prompt": ask.prompts[0], **({"interpolate_to": end} if end is not None else {})}
    files = [*(str(picture["file"]) for picture in pictures), SHEET]
    base = studio.base.name, origin.base
    signed = signed_files.sign(signer, out, files, opened=[*opened, *turned], base=base, prompt=ends)
    facts = {
        "prompt": ask.prompts[0],
        **({"slerp_to": describe(turned)[0]} if turned else {"interpolate_to": end}),
        **{"weights": drawn.weights, "n": n, "seed": seed, **studio.facts(), **choices["sampling"].facts()},
        "embeddings": describe(opened, against),
        **signed,
    }
    write_manifest(out, "embhub.series/1", {**facts, "sheet": SHEET, "pictures": pictures})
    return {**report(out, len(pictures), [*opened, *turned, *against]), "sheet": str(out / SHEET)}


def origin_of(opened: Sequence[Opened], studio: Studio, source_type: SourceType = GENERATED) -> Origin:
    """What the images' metadata says of them."""
    base = str(studio.facts()["base_fingerprint"])
    return Origin(tuple(item.embedding.digest for item in opened), base, source_type)


def describe_parts(parts: Sequence[Part]) -> dict[str, Any]:
    """The prompt, or the prompts with their weights, as a manifest says them."""
    return {"parts": [asdict(part) for part in parts]} if len(parts) > 1 else {"prompt": parts[0].prompt}


def describe(opened: Sequence[Opened], against: Sequence[Opened] = ()) -> list[dict[str, Any]]:
    """Which embeddings were used: token and digest of each, and which of them stand in the negative prompt."""
    loaded: list[Embedding] = [item.embedding for item in (*opened, *against)]
    facts: list[dict[str, Any]] = [{"token": item.token, "sha256": item.digest} for item in loaded]
    for fact in facts[len(opened) :]:
        fact["negative"] = True
    return facts


def write_picture(picture: Image.Image, path: Path, origin: Origin, *, mode: int = 0o644) -> str:
    """Write a PNG of the pixels and of what says how they were made, nothing else that the picture carries; returns
    its name."""
    write_atomic(path, encode_picture(picture, origin), mode=mode)
    return path.name


def encode_picture(picture: Image.Image, origin: Origin) -> bytes:
    """The same as bytes."""
    buffer = io.BytesIO()
    bare = Image.new(picture.mode, picture.size)
    bare.paste(picture)
    bare.save(buffer, "PNG")
    return mark_png(buffer.getvalue(), origin.source_type, embeddings=origin.embeddings, base=origin.base)


def write_manifest(out: Path, schema: str, facts: Mapping[str, Any], *, mode: int = 0o644) -> None:
    """Write manifest.json, last of all: where it is there, the pictures are."""
    manifest = {"schema": schema, "embhub": __version__, **facts}
    write_atomic(out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n", mode=mode)


def report(out: Path, count: int, opened: Sequence[Opened]) -> dict[str, Any]:
    """What the command says of it."""
    tokens = ", ".join(item.embedding.token for item in opened)
    facts = {"wrote": f"{count} images and {MANIFEST}", "folder": str(out), "embeddings": tokens or "none"}
    return {**facts, "warning": "; ".join(text for item in opened for text in item.warnings)}
