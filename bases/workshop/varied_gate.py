"""Figures of a base of varied phantoms: what it generates of what it was taught, and of what it was not, before and
after inversion.

Seeds, numbers of samples and settings stand here, fixed before anything is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from bases.workshop import varied_judges
from bases.workshop.counting import Figures, Keep, Pictures, Report, decibels, tensor
from bases.workshop.gating import inverted, nearest_words, settings, share
from bases.workshop.judge import Judge
from bases.workshop.readers import reader_for
from bases.workshop.rendered import first_seen
from bases.workshop.sampling import sample
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.adaptation.base_training.likeness import power_ratios
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.copying.base_copies import compared
from embhub.diffusion.evaluation import fidelity
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.phantoms.findings import HELD_OUT, MODALITIES, PLACES, PREFIXES, TONES, Finding, is_held_out, target_finding
from embhub.phantoms.varied import OVERSIZE, SHAPES, near_misses, random_shape

SAMPLES, IMAGES, SEEDS = 96, 100, 3
REAL, WORDS_TRIED_ON, COMPARED = 96, 24, 400
NORMAL = "normal"
COMPARED_EACH = 10
LAYERED = "vectors for each layer"
"""Counted beside the gate: only embhub loads them."""


def measure_varied(base: BaseInfo, report: Report, keep: Keep, samples: int = SAMPLES) -> Figures:
    """Autoencoder, judges, taught prompts, normals, copies, and each held-out finding."""
    pipe = load_pipeline(base.path)
    rng = np.random.default_rng(101)
    shown = {kind: [(random_shape(kind, rng),) for _ in range(50)] for kind in MODALITIES}
    heard = {kind: decibels(pipe, varied_judges.pictures(kind, some, rng)) for kind, some in shown.items()}
    figures: Figures = {"autoencoder_db": {"n": 50, **heard}}
    report(f"autoencoder {figures['autoencoder_db']}")
    figures |= measure_taught(base, pipe, report, keep, samples)
    figures["copies"] = check_copies(base, pipe)
    report(f"copies {figures['copies']}")
    figures["held_out"] = {}
    for name in HELD_OUT:
        figures["held_out"][name] = _held_out(pipe, base, name, samples, report, keep)
    return figures


def measure_taught(base: BaseInfo, pipe: Pipeline, report: Report, keep: Keep, samples: int = SAMPLES) -> Figures:
    """Readers of words, and what they read in images of taught prompts; generated normals beside real ones."""
    figures: Figures = {"readers": {}, "taught": {}}
    for modality in MODALITIES:
        figures["readers"][modality] = _reader(modality, base)
        report(f"reader of {modality}: {figures['readers'][modality]}")
    drawn: dict[str, Pictures] = {}
    for label, prompt in base.prompts.items():
        drawn[label] = sample(pipe, prompt, samples, seed=1000, **settings(base))
        keep(label, drawn[label])
        figures["taught"][label] = _taught(base, prompt, drawn[label])
        report(f"taught {label}: {figures['taught'][label]}")
    normals = {
        kind: next(seen for label, seen in drawn.items() if _is_normal(base, label, kind)) for kind in MODALITIES
    }
    figures |= _normals(base, normals)
    report(f"normals {figures['normals']}, power {figures['power']}")
    return figures


def _is_normal(base: BaseInfo, label: str, modality: str) -> bool:
    return base.prompts[label].startswith(PREFIXES[modality][0]) and NORMAL in base.prompts[label]


def _modality(prompt: str) -> str:
    return next(kind for kind in MODALITIES if prompt.startswith(PREFIXES[kind][0]))


def _reader(modality: str, base: BaseInfo) -> Figures:
    """How often the reader has every word right, and each word's kind, on phantoms that it never saw."""
    rng = np.random.default_rng(151)
    shown = [varied_judges.single_or_misfit(index, modality, rng) for index in range(REAL * 2)]
    read = reader_for(modality, base.path)(varied_judges.pictures(modality, shown, rng))
    truth = [varied_judges.told(findings) for findings in shown]
    right = [words <= said and ("misfit" in words) == ("misfit" in said) for said, words in
             zip(read, truth, strict=True) if len(words) <= 5]  # fmt: skip
    misfit = [("misfit" in words) == ("misfit" in said) for said, words in zip(read, truth, strict=True)]
    return {"right": share(right), "misfit": share(misfit), "n": len(right)}


def _taught(base: BaseInfo, prompt: str, seen: Pictures) -> Figures:
    """Share of images in which all words of the prompt are read and nothing is amiss, and each word's share; the same
    share of real phantoms with these words, which is the most that the reader can grant."""
    modality, wanted = _modality(prompt), varied_judges.asked(prompt)
    reader = reader_for(modality, base.path)
    read = reader(seen)
    real = reader(varied_judges.pictures(modality, [shown_by(prompt)] * REAL, np.random.default_rng(181)))
    each = {word: round(sum(word in words for words in read) / len(read), 3) for word in sorted(wanted)}
    recognised, ceiling = (
        share([wanted <= words and "misfit" not in words for words in some]) for some in (read, real)
    )
    return {"recognised": recognised, "real": ceiling, "each_word": each, "n": len(read)}


def shown_by(prompt: str) -> tuple[Finding, ...]:
    """The findings that a taught prompt asks for, none for a normal one."""
    said = prompt.split(", ", 1)[1].split()
    if said == [NORMAL]:
        return ()
    tone, size, edge, shape, _, place, side = said
    return (Finding(shape, tone, size, edge, place, side),)


def _normals(base: BaseInfo, normals: dict[str, Pictures]) -> Figures:
    """Generated normal images beside real ones: how many the reader calls normal, and their power."""
    figures: Figures = {"normals": {}, "power": {}}
    rng = np.random.default_rng(161)
    for modality, seen in normals.items():
        real = varied_judges.pictures(modality, [()] * REAL, rng)
        read = reader_for(modality, base.path)
        counted = {kind: share([NORMAL in words for words in read(some)])
                   for kind, some in (("generated", seen), ("real", real))}  # fmt: skip
        figures["normals"][modality] = {**counted, "n": len(seen)}
        figures["power"][modality] = power_ratios(tensor(seen), tensor(real))
    return figures


def check_copies(base: BaseInfo, pipe: Pipeline) -> Figures:
    """The copy check of taught images against the phantoms that the base saw most often, with fresh ones as
    strangers."""
    taught = first_seen(COMPARED)
    rng = np.random.default_rng(171)
    strangers = np.concatenate([varied_judges.pictures(kind, [()] * 34, rng) for kind in MODALITIES])
    seen = np.concatenate(
        [sample(pipe, prompt, COMPARED_EACH, seed=1500, **settings(base)) for prompt in base.prompts.values()]
    )
    found = compared(pipe, tensor(taught), list(range(len(taught))), tensor(strangers), tensor(seen))
    return {"films": len(taught), "patients": len(taught), "controls": len(strangers), **found}


def _held_out(pipe: Pipeline, base: BaseInfo, name: str, samples: int, report: Report, keep: Keep) -> Figures:
    """What the judge counts in real images, in images of words alone, and in images of embeddings of three seeds."""
    held, judge = HELD_OUT[name], varied_judges.judge_for(name, base.path)
    figures: Figures = {"judge": _judged(name, judge), "words": {}, "inverted": {}, "n": samples}
    report(f"{name} judge: {figures['judge']}")
    rng = np.random.default_rng(202)
    images = varied_judges.pictures(held.modality, [(target_finding(name, rng),) for _ in range(IMAGES)], rng)
    latents, prefix = inversion.encode_images(pipe, tensor(images)), PREFIXES[held.modality][0]
    prompts = {
        "before": f"{prefix}, lesion",
        "nearest words": nearest_words(pipe, latents[:WORDS_TRIED_ON], captions(held.modality)),
    }
    drawn: dict[str, Pictures] = {}
    for kind, prompt in prompts.items():
        drawn[kind] = sample(pipe, prompt, samples, seed=3000, **settings(base))
        figures["words"][kind] = {"prompt": prompt, **_shares(judge, drawn[kind])}
        report(f"{name} {kind}: {figures['words'][kind]}")
    for seed in range(SEEDS):
        kind = f"seed {seed}"
        drawn[kind], learned = inverted(pipe, base, latents, f"{prefix}, {{}}", samples, seed)
        figures["inverted"][kind] = {**learned, **_shares(judge, drawn[kind])}
        report(f"{name} {kind}: {figures['inverted'][kind]}")
    drawn[LAYERED], learned = inverted(pipe, base, latents, f"{prefix}, {{}}", samples, 0, per_layer=True)
    figures["per_layer"] = {LAYERED: {**learned, **_shares(judge, drawn[LAYERED])}}
    report(f"{name} {LAYERED}: {figures['per_layer'][LAYERED]}")
    for kind, seen in drawn.items():
        keep(f"{name} {kind}", seen)
    figures["distance"] = _distances(name, drawn)
    report(f"{name} kernel distance: {figures['distance']}")
    return figures


def captions(modality: str) -> list[str]:
    """Every tone, shape and place that the base was taught of a modality, as captions."""
    prefix = PREFIXES[modality][0]
    said = [Finding(shape, tone, "small", "sharp", place, "left") for tone, shape, place in
            product(TONES, SHAPES, PLACES)]  # fmt: skip
    taught = [one for one in said if not is_held_out(modality, one)]
    return [f"{prefix}, {one.tone} {one.edge} {one.shape} in {one.place}" for one in taught]


def _judged(name: str, judge: Judge) -> Figures:
    """How often the judge is right of phantoms that nobody trained on, by what they show."""
    rng, modality = np.random.default_rng(303), HELD_OUT[name].modality
    kinds: dict[str, Callable[[], varied_judges.Shown]] = {
        "target": lambda: (target_finding(name, rng),),
        "near miss": lambda: near_misses(name, rng),
        "too large": lambda: (_too_large(name, rng),),
        "target and another": lambda: (target_finding(name, rng), random_shape(modality, rng)),
        "normal": lambda: (),
    }
    figures: Figures = {}
    right: list[bool] = []
    for kind, make in kinds.items():
        only = judge(varied_judges.pictures(modality, [make() for _ in range(REAL)], rng)).target_only
        figures[kind] = share(list(only))
        right += list(only == (kind == "target"))
    return {"right": share(right), "n": len(right), "target_only": figures}


def _too_large(name: str, rng: np.random.Generator) -> Finding:
    one = target_finding(name, rng)
    return Finding(one.shape, one.tone, OVERSIZE, one.edge, one.place, one.side, one.strength)


def _shares(judge: Judge, seen: Pictures) -> Figures:
    found = judge(seen)
    return {"target": share(list(found.target)), "target_only": share(list(found.target_only)), "n": len(seen)}


def _distances(name: str, drawn: dict[str, Pictures]) -> Figures:
    """Kernel distance (KID) to real phantoms with the finding; real normal ones say what another label comes to."""
    rng, modality = np.random.default_rng(404), HELD_OUT[name].modality
    real = varied_judges.pictures(modality, [(target_finding(name, rng),) for _ in range(IMAGES)], rng)
    normal = varied_judges.pictures(modality, [()] * IMAGES, rng)
    features = fidelity.Features(varied_judges.feature_network(name), real)
    found = fidelity.compare(features, {**drawn, "real normal": normal}, real)
    return {
        name: {"n": one.images, "kid": round(one.kid, 4), "sd": round(one.kid_sd, 4)} for name, one in found.items()
    }
