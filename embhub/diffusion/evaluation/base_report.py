"""The fixed script of `embhub report`: train on phantoms, audit, generate, and ask the same questions of every base.

Each check is tried whatever became of those before it, as far as what it looks at is there: a report of a failure is
one, too. The phantoms are made here, and the site's ledger and memory are not touched.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.cards.personal_data import looks_like_patient
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.bases import live_fingerprint
from embhub.diffusion.bases.adapted import is_adapted
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import choose_device, find_base, load_pipeline, size_rule
from embhub.diffusion.bases.replacements import parse_base
from embhub.diffusion.families import FAMILIES
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.train import train
from embhub.errors import EmbhubError, UsageError
from embhub.options.training import Recipe, Selection
from embhub.phantoms.dataset import write_dataset
from embhub.progress import OnProgress, Progress
from embhub.release.checks.base_report import (
    BASE_NAME,
    CHECKS,
    LARGEST,
    MOST_COMPONENTS,
    Base,
    Check,
    Machine,
    Program,
    Report,
    Unsigned,
    identifier,
    spelled,
)
from embhub.site import builds, config

STEPS, PHANTOMS, IMAGES, AGAIN, SAMPLING_STEPS, SEED = 40, 16, 32, 4, 20, 20261127
TOKEN, CAPTION, PLAIN = "<phantom>", "chest x-ray, {}", "chest x-ray, normal"
SAME = 8
"""Most levels of 255 by which a pixel may differ that is computed again: GPUs add up in another order each time."""
BLANK = 1.0
"""Least standard deviation of an image's pixels, in levels of 255."""
_SMALL = 128  # pixels up to which a whole batch fits into any memory

Say = Callable[[str], None]


def report_on(
    base: str, *, device: str = "auto", on_progress: OnProgress | None = None, on_note: Say = lambda _: None
) -> Unsigned:
    """Run the script on a base.

    Args:
        base: A built-in name, a pipeline folder, or `owner/name[@revision]` of the Hub.
        device: `auto`, or a torch device.
        on_progress: Called with the progress of each stage.
        on_note: Called with each failure in full, which the report names by its class alone.

    Returns:
        The report, unsigned.

    Raises:
        UsageError: no such base or device, or one with parts that a site made.
        ArtifactError: the base cannot be fingerprinted, so that nothing could be said of it.
    """
    if parse_base(base)[1]:
        raise UsageError("a report is on a base as its makers published it", "leave out what is replaced in it")
    found, place = find_base(base), choose_device(device)
    if is_adapted(found.folder):
        raise UsageError(f"{found.name} was fine-tuned on a site's images", "name the base that it was made from")
    identity = fingerprint.take(found.folder)
    described, program, device_name = _describe(found), _program(), _name(place)  # a fault here ends it before the run
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    with tempfile.TemporaryDirectory() as folder, config.elsewhere(Path(folder) / "site"):
        run = _Run(found, identity, str(place), Path(folder), on_progress, on_note)
        checks = run.checks()
        return Unsigned(
            fingerprint=fingerprint.digest(identity),
            report=Report(
                base=described, program=program,
                machine=Machine(device=device_name, precision=run.precision, peak_bytes=_peak(place)),
                phantoms=run.phantoms, checks=checks,
            ),
        )  # fmt: skip


class _NotRunError(Exception):
    """What a check looks at is not there, because an earlier one failed."""


class _Run:
    """One run of the script; what a check made, later ones look at."""

    def __init__(
        self, found: FoundBase, identity: dict[str, Any], device: str, folder: Path, on_progress: OnProgress | None,
        on_note: Say,
    ) -> None:  # fmt: skip
        self.found, self.identity, self.device, self.folder = found, identity, device, folder
        self.on_progress, self.on_note = on_progress, on_note
        self.precision, self.side = "unknown", 0
        self.pipe: Any = None
        self.losses: tuple[float | None, float | None] | None = None
        self.made: artifact.Embedding | None = None
        self.images: list[NDArray[np.float64]] = []
        self.file = folder / "report.safetensors"
        self.manifest = write_dataset(folder / "phantoms", "cxr-effusion", images=PHANTOMS, patients=PHANTOMS, seed=1)
        self.phantoms = _digest(self.manifest)

    def checks(self) -> tuple[Check, ...]:
        """Every check, in order."""
        return tuple(self._try(name) for name in CHECKS)

    def _try(self, name: Any) -> Check:
        try:
            passed, figures = getattr(self, "_" + name.replace("-", "_"))()
            outcome, fault = ("passed" if passed else "failed"), None
        except _NotRunError:
            outcome, figures, fault = "not-run", {}, None
        except Exception as error:  # noqa: BLE001  # whatever a checkpoint does to diffusers is what is to be known
            outcome, figures, fault = "failed", {}, identifier(type(error).__name__)
            said = error.message if isinstance(error, EmbhubError) else str(error)
            self.on_note(f"{name} failed: {fault}: {said[:500]}")
        gc.collect()  # pipelines hold circles, and the next one needs the room
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        kept = {key: float(f"{value:.6g}") for key, value in figures.items() if abs(value) <= LARGEST}
        return Check(name=name, outcome=outcome, figures=kept, fault=fault)

    def _loads(self) -> tuple[bool, dict[str, float]]:
        start = time.monotonic()
        self.pipe = load_pipeline(self.found, device=self.device)
        self.precision, self.side = str(self.pipe.dtype).removeprefix("torch."), size_rule(self.pipe).choose(None)
        return True, {"seconds": time.monotonic() - start, "pixels": self.side}

    def _same_weights(self) -> tuple[bool, dict[str, float]]:
        pipe, self.pipe = self.pipe, None  # from here on each check loads its own, as a site would
        if pipe is None:
            raise _NotRunError
        return fingerprint.compare(self.identity, live_fingerprint.take(pipe)).level == "exact", {}

    def _trains(self) -> tuple[bool, dict[str, float]]:
        clock = _Clock(self.on_progress)
        small = self.side <= _SMALL
        done = train(
            self.manifest.parent, token=TOKEN, caption=CAPTION, base=str(self.found.folder),
            recipe=Recipe(steps=STEPS, micro_batch_size=None if small else 1),
            selection=Selection(manifest=self.manifest, holdout=0.5), seed=SEED, device=self.device, out=self.file,
            on_progress=clock,
        )  # fmt: skip
        self.made, self.losses = done.embedding, (done.heldout_before, done.heldout_after)
        return bool(np.isfinite(done.losses).all()), {"steps": STEPS, "seconds_per_step": clock.seconds_per("training")}

    def _learns(self) -> tuple[bool, dict[str, float]]:
        before, after = self.losses or (None, None)
        if before is None or after is None:
            raise _NotRunError
        return bool(after < before), {"before": before, "after": after}

    def _reads_back(self) -> tuple[bool, dict[str, float]]:
        made, read = self._embedding(), artifact.read(self.file)
        same = read.digest == made.digest and read.tensors.keys() == made.tensors.keys()
        same = same and all(np.array_equal(read.tensors[name], values) for name, values in made.tensors.items())
        fits = fingerprint.compare(read.base, self.identity).level == "exact" if read.base else False
        return same and fits, {"vectors": read.vectors[0].count}

    def _audits(self) -> tuple[bool, dict[str, float]]:
        self._embedding()
        found = audit(self.file, base=str(self.found.folder), device=self.device, on_progress=self.on_progress)
        return True, {"auc": found.attacks[0].auc}

    def _generates(self) -> tuple[bool, dict[str, float]]:
        start = time.monotonic()
        self.images = self._draw(IMAGES)
        return len(self.images) == IMAGES, {
            "images": len(self.images), "seconds_per_image": (time.monotonic() - start) / IMAGES,
        }  # fmt: skip

    def _right_size(self) -> tuple[bool, dict[str, float]]:
        shapes = {image.shape for image in self._drawn()}
        return shapes == {(self.side, self.side, 3)}, {"pixels": float(min(shapes)[0])}

    def _not_blank(self) -> tuple[bool, dict[str, float]]:
        least = min(float(image.std()) for image in self._drawn())
        return least >= BLANK, {"least_spread": least}

    def _distinct(self) -> tuple[bool, dict[str, float]]:
        different = len({image.tobytes() for image in self._drawn()})
        return different == IMAGES, {"different": different}

    def _repeats(self) -> tuple[bool, dict[str, float]]:
        first = self._drawn()[:AGAIN]
        again = self._draw(AGAIN)
        largest = max(float(np.abs(old - new).max()) for old, new in zip(first, again, strict=True))
        return largest <= SAME, {"images": len(again), "largest_difference": largest}

    def _acts(self) -> tuple[bool, dict[str, float]]:
        self._embedding()
        first = self._drawn()[:AGAIN]
        plain = self._draw(AGAIN, plain=True)
        mean = float(np.mean([np.abs(old - new).mean() for old, new in zip(first, plain, strict=True)]))
        return mean > BLANK, {"images": len(plain), "mean_difference": mean}

    def _draw(self, count: int, *, plain: bool = False) -> list[NDArray[np.float64]]:
        """Images of a freshly loaded pipeline, with the file where there is one, unless `plain`.

        Without a mark: its place in the noise follows from the embedding, which `acts` leaves out.
        """
        used = [] if self.made is None or plain else [artifact.read(self.file)]
        drawn = generate(
            CAPTION if used else PLAIN, embeddings=used, base=str(self.found.folder), n=count, seed=SEED,
            steps=SAMPLING_STEPS, batch_size=AGAIN if self.side <= _SMALL else 1, mark=False, device=self.device,
            on_progress=self.on_progress,
        )  # fmt: skip
        return [np.asarray(image, dtype=np.float64) for image in drawn]

    def _drawn(self) -> list[NDArray[np.float64]]:
        if not self.images:
            raise _NotRunError
        return self.images

    def _embedding(self) -> artifact.Embedding:
        if self.made is None:
            raise _NotRunError
        return self.made


class _Clock:
    """Passes progress on, and notes how long a unit of each stage took."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._next, self._seen = on_progress, dict[str, list[tuple[float, int]]]()

    def __call__(self, progress: Progress) -> None:
        self._seen.setdefault(progress.stage, []).append((time.monotonic(), progress.done))
        if self._next:
            self._next(progress)

    def seconds_per(self, stage: str) -> float:
        """Mean seconds of a unit, the first one left out: it compiles and caches. NaN where there were none."""
        seen = self._seen.get(stage, [])
        (first, one), (last, all_) = (seen[0], seen[-1]) if seen else ((0.0, 0), (0.0, 0))
        return (last - first) / (all_ - one) if all_ > one else float("nan")


def _describe(found: FoundBase) -> Base:
    parts = json.loads((found.folder / "model_index.json").read_bytes())
    family: Any = next((one.name for one in FAMILIES if found.kind in one.pipelines), "unknown")
    matched = re.fullmatch(r"[0-9a-f]{40}", found.folder.name)
    commit = matched[0] if matched else None
    rows = [(name, row[1]) for name, row in sorted(parts.items()) if isinstance(row, list) and len(row) == 2 and row[1]]
    return Base(
        name=_name_of(found, commit), revision=commit, family=family, pipeline=identifier(found.kind),
        components={identifier(name): identifier(str(kind)) for name, kind in rows[:MOST_COMPONENTS]},
    )  # fmt: skip


def _name_of(found: FoundBase, commit: str | None) -> str:
    """A name of the Hub as it is; of a folder the one that it has, unless it does not fit or looks like a patient's."""
    fits = re.fullmatch(BASE_NAME, found.name) is not None
    public = commit is not None and "/" in found.name
    return found.name if fits and (public or looks_like_patient(found.name) is None) else "local-base"


def _program() -> Program:
    build = builds.installed()
    return Program(
        embhub=build.version, build=build.digest, torch=str(torch.__version__),
        diffusers=diffusers.__version__, transformers=transformers.__version__,
    )  # fmt: skip


def _name(place: torch.device) -> str:
    """The device by its maker's name; a processor by its kind alone."""
    return spelled(torch.cuda.get_device_name(place) if place.type == "cuda" else place.type)


def _peak(place: torch.device) -> int:
    if place.type == "cuda":
        return int(torch.cuda.max_memory_allocated(place))
    try:
        import resource  # Windows has none
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _digest(manifest: Path) -> str:
    """SHA-256 of the manifest and of every image's pixels, which say the same whatever packed them into PNGs."""
    sha = hashlib.sha256(manifest.read_bytes())
    for path in sorted((manifest.parent / "images").iterdir()):
        with Image.open(path) as image:
            sha.update(image.convert("RGB").tobytes())
    return sha.hexdigest()
