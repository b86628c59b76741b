"""What lies beside the images of a data set: `manifest.csv` (and a copy in Parquet), `croissant.json`, and `README.md`.

The manifest is the kind that every verb of embhub reads. The description follows MLCommons Croissant 1.1
(https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html) with its vocabulary for responsible AI.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embhub.diffusion.datasets import floor, parquet_copy, provenance
from embhub.diffusion.datasets.plan import PLAN, Picture, PlannedClass
from embhub.diffusion.datasets.sources import Origin
from embhub.diffusion.generation.noise_mark import INDEXES
from embhub.durable import write_atomic
from embhub.images.c2pa_manifests.tables import SIDECAR
from embhub.images.manifests.manifest import NAME as MANIFEST

CROISSANT, SHEET = "croissant.json", "README.md"
FILES = (MANIFEST, CROISSANT, SHEET, PLAN)
COLUMNS = ("path", "label", "seed", "prompt", "guidance", "steps", "embedding", "base", "sha256")

SYNTHETIC = (
    "Every image was drawn by a diffusion model. None was taken of a patient, none may be used to diagnose, treat or"
    " advise anybody, and none is evidence of how often or in which form a disease occurs."
)
LEAKS = (
    "Drawn is not the same as free of personal data: a model can draw what it was trained on. What was measured of that"
    " is named with each embedding; whether it is enough is for the controller of these images to decide."
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    **provenance.CONTEXT,
}
_PARAGRAPH = "\n\n"
_TYPES = {"seed": "sc:Integer", "steps": "sc:Integer", "guidance": "sc:Float"}
_MEANING = {
    "path": "the image, relative to this file",
    "label": "what the prompt asked for: nobody looked at the image to label it",
    "seed": "start of its noise: `embhub generate PROMPT --seed` draws it again",
    "prompt": "what was drawn",
    "guidance": "how hard the model followed the prompt",
    "steps": "sampling steps",
    "embedding": "SHA-256 of each embedding, with spaces between",
    "base": "SHA-256 of the base model's fingerprint",
    "sha256": "SHA-256 of the image's file",
}


def write(
    folder: Path, classes: Sequence[PlannedClass], pictures: Sequence[Picture], plan: Mapping[str, Any], *,
    parquet: bool = False,
) -> None:  # fmt: skip
    """Write the three files, the same bytes for the same plan, and with `parquet` the manifest's copy.

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    table = manifest(folder, classes, pictures, plan)
    if not (folder / MANIFEST).is_file() or (folder / MANIFEST).read_bytes() != table:
        (folder / SIDECAR).unlink(missing_ok=True)  # it is signed for another table
    write_atomic(folder / MANIFEST, table)
    copy = parquet_copy.encode(table) if parquet else None
    if copy is None:
        (folder / parquet_copy.NAME).unlink(missing_ok=True)  # of an earlier call, which asked for it
    else:
        write_atomic(folder / parquet_copy.NAME, copy)
    description = croissant(folder.resolve().name, classes, plan, table=table, copy=copy, images=len(pictures))
    write_atomic(folder / CROISSANT, json.dumps(description, indent=1, ensure_ascii=False).encode() + b"\n")
    write_atomic(folder / SHEET, sheet(classes, plan, images=len(pictures)).encode())


def manifest(
    folder: Path, classes: Sequence[PlannedClass], pictures: Sequence[Picture], plan: Mapping[str, Any]
) -> bytes:
    """One row an image that lies in `folder`. There is no column `patient_id`: nobody is behind an image."""
    digests = {
        item.label: " ".join(origin.embedding.digest for origin in (*item.origins, *item.against)) for item in classes
    }
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for picture in pictures:
        rows.writerow(
            (
                picture.path, picture.label, picture.seed, picture.prompt, plan["guidance"], plan["steps"],
                digests[picture.label], plan["base"]["fingerprint"],
                hashlib.sha256((folder / picture.path).read_bytes()).hexdigest(),
            )
        )  # fmt: skip
    return text.getvalue().encode()


def croissant(
    name: str,
    classes: Sequence[PlannedClass],
    plan: Mapping[str, Any],
    *,
    table: bytes,
    copy: bytes | None,
    images: int,
) -> dict[str, Any]:
    """The description as JSON-LD; it names the digests of `table`, the manifest's bytes, and of its Parquet `copy`."""
    origins = _origins(classes)
    licences = sorted({origin.card.licence_link for origin in origins if origin.card})
    fields = [_field(column) for column in COLUMNS]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": name,
        "description": f"{images} drawn images of {len(classes)} classes. {SYNTHETIC}",
        **({"license": licences} if licences else {}),
        "version": "1.0.0",
        "creativeWorkStatus": "synthetic",
        "keywords": ["synthetic", "not clinical", *(item.label for item in classes)],
        "isBasedOn": [f"{o.name}, SHA-256 {o.embedding.digest}" for o in origins],
        **provenance.describe(origins, plan),
        **provenance.describe_use(origins, SYNTHETIC),
        "isLiveDataset": False,
        "distribution": [
            _file(MANIFEST, "text/csv", table),
            *([_file(parquet_copy.NAME, parquet_copy.TYPE, copy)] if copy is not None else []),
            {
                "@type": "cr:FileSet",
                "@id": "pictures",
                "name": "pictures",
                "encodingFormat": "image/png",
                "includes": [f"{item.folder}/*.png" for item in classes],
            },
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "images", "name": "images", "field": fields}],
        "rai:dataCollectionType": ["Others"],
        "rai:annotationsPerItem": "none: a label is what the prompt asked for",
        "rai:dataCollection": "Drawn by a diffusion model with textual inversion embeddings; no image was collected.",
        "rai:dataLimitations": " ".join(filter(None, (SYNTHETIC, floor.first_line(classes, plan.get("below_floor"))))),
        "rai:dataBiases": "Those of the base and of the embeddings' training images; their cards say what is known.",
        "rai:personalSensitiveInformation": [LEAKS],
        "rai:dataUseCases": "Research on, and training of, image models beside real images. Not for clinical use.",
    }


def _file(name: str, kind: str, data: bytes) -> dict[str, str]:
    digest = hashlib.sha256(data).hexdigest()
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name,
        "encodingFormat": kind, "sha256": digest,
    }  # fmt: skip


def sheet(classes: Sequence[PlannedClass], plan: Mapping[str, Any], *, images: int) -> str:
    """The data sheet for people."""
    rows = "".join(
        f"| {_cell(c.label)} | {plan['per_class']} | {noise_patterns(c, plan)} | {_code(c.prompt)} | "
        f"{', '.join(_code(o.embedding.token) for o in c.origins) or 'none: words of the base alone'} |\n"
        for c in classes
    )
    first = floor.first_line(classes, plan.get("below_floor"))
    return f"""{f"**{_cell(first)}**{_PARAGRAPH}" if first else ""}# Drawn images

{images} images of {len(classes)} classes. {SYNTHETIC}

{LEAKS}

A label says what the prompt asked for. Nobody looked at the images to label them, and some will not show it: have
somebody who can tell look at a part of each class before anything is learned from them.

| label | images | noise patterns | prompt | embeddings |
|---|---|---|---|---|
{rows}
Images of one embedding whose seeds are equal modulo {INDEXES} start from noise with the same signs, a correlation of
0.64: the mark that traces them is in these signs. Count a class as that many independent images as it has noise
patterns. A bootstrap that takes more of them as independent gives intervals that are too narrow.

## Embeddings

{"".join(_about(origin) for origin in _origins(classes))}
## Base model and settings

{_code(plan["base"]["name"])}, fingerprint `{plan["base"]["fingerprint"]}`; {plan["steps"]} steps, guidance
{plan["guidance"]:g}, seed {plan["seed"]}{_sampling(plan)}.{_avoided(plan)} Its licence binds what is drawn with it,
too.

`{MANIFEST}` has a row an image: path, label, and what is needed to draw it again. `{CROISSANT}` says the same to
programs (MLCommons Croissant 1.1), `{PLAN}` is the plan that the images were drawn by.
"""


def noise_patterns(planned: PlannedClass, plan: Mapping[str, Any]) -> int:
    """How many patterns of signs the noise of a class has, at most INDEXES: images that share one are alike."""
    return len({picture.seed % INDEXES for picture in planned.pictures(plan["per_class"], plan["seed"])})


def _avoided(plan: Mapping[str, Any]) -> str:
    return f" Negative prompt: {_code(plan['negative'])}." if plan.get("negative") else ""


def _sampling(plan: Mapping[str, Any]) -> str:
    """What was chosen beside steps and guidance, such as `, batch size 8`."""
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in plan.get("sampling", {}).items())


def _about(origin: Origin) -> str:
    lines = [
        f"- {_code(origin.embedding.token)}: {_cell(origin.name)}, "
        f"{'signed and verified' if origin.signed else 'not signed: nobody vouches for it'}. "
        f"SHA-256 `{origin.embedding.digest}`.",
        f"  - Audit for what it tells about who was trained on: {origin.verdict}.",
    ]
    if origin.card:
        lines.append(f"  - Licence: [{_cell(origin.card.licence)}]({origin.card.licence_link}).")
        lines.append(f"  - Not for: {_cell(origin.card.out_of_scope)}")
    lines += [f"  - Condition: {_cell(text)}." for text in origin.conditions]
    lines += [f"  - Declared by who made this data set: {_cell(text)}." for text in origin.declared]
    return "\n".join(lines) + "\n"


def _field(column: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{column}",
        "name": column,
        "description": _MEANING[column],
        "dataType": _TYPES.get(column, "sc:Text"),
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": column}},
        **(provenance.describe_labels() if column == "label" else {}),
    }


def _origins(classes: Sequence[PlannedClass]) -> list[Origin]:
    return list({origin.target: origin for item in classes for origin in (*item.origins, *item.against)}.values())


def _code(text: str) -> str:
    """Text as code in a table of Markdown; a code span knows no other escapes."""
    return f"`{' '.join(text.split()).replace('`', '´').replace('|', '¦')}`"


def _cell(text: str) -> str:
    """Text that opens no table cell, tag or link of its own in Markdown."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    for letter in "\\`|[]*_":
        line = line.replace(letter, "\\" + letter)
    return line
