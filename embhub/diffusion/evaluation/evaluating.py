"""`embhub.evaluate`: real images against real and drawn ones, by patient, in a report that says what it cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embhub.cards.evaluation import CEILING, Classifier, EvaluationReport
from embhub.cards.published_evaluation import Cohort
from embhub.diffusion.bases.pipelines import choose_device
from embhub.diffusion.evaluation import (
    asking,
    base_patients,
    cohorts,
    curve_png,
    extractors,
    outcome,
    page,
    pretrained,
    realism,
)
from embhub.diffusion.evaluation.asking import Folders
from embhub.diffusion.evaluation.cells import Cell, Labelled, grid, of_class
from embhub.diffusion.evaluation.fitting import Choices, teach
from embhub.diffusion.evaluation.material import (
    Drawn,
    Source,
    check_apart,
    check_labels,
    choose_fit,
    learned_from,
    read_ceiling,
    read_drawn,
    read_real,
)
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import join, stoppable
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.options.preprocessing import Fit
from embhub.options.regimes import Regime
from embhub.progress import OnProgress
from embhub.version import __version__

REAL_COUNTS, DRAWN_COUNTS = (10, 20, 50, 200), (0, 100, 500)
REPORT, PAGE, CURVE, KEPT = "evaluation.json", "index.html", "learning-curve.png", "fits"


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        report: Counts and figures alone.
        notes: Remarks for the person at the site. They name rows, never files.
        cohort: Whose images were used, under the site's key, for this site alone. None where they name no patients.
    """

    report: EvaluationReport
    notes: tuple[str, ...]
    cohort: Cohort | None = None


def evaluate(
    real: str | Path,
    test: str | Path,
    synthetic: Folders | None = None,
    *,
    arms: Mapping[str, Folders] | None = None,
    regimes: Sequence[Regime] = ("mixed",),
    real_share: float | None = None,
    controls: bool = True,
    features: str | None = None,
    ceiling: str | Path | None = None,
    positive: str | None = None,
    classifier: str = "small",
    seeds: int = 5,
    real_counts: Sequence[int] | None = None,
    synthetic_counts: Sequence[int] | None = None,
    steps: int | None = None,
    resolution: int | None = None,
    fit: Fit | None = None,
    mirror: bool = True,
    real_where: str | None = None,
    test_where: str | None = None,
    dataset: str = "images of the site",
    device: str = "auto",
    report: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluated:
    """Measure whether generated images help a classifier of real images, on test patients excluded from all training.

    Args:
        real: Manifest or folder with labels, as for `train`, or a folder for each label: the images to train on.
        test: The same for the images to test on. No patient may be in both.
        synthetic: Generated images with the same labels: a folder of `embhub research dataset`, or a folder for each
            label. A list of folders is one arm of several embeddings, whose variance goes into the intervals.
        arms: Further sets of generated images, by name: the controls of `synthetic`, such as plain words.
        regimes: How generated images are used: `mixed`, `pretrained`, `filtered`, see `evaluation.regimes`. The verdict
            is that of the first.
        real_share: Share of real images in each mixed batch, above 0 and below 1. By default as among all images.
        controls: Also train with the generated normals alone, and with real images alone and early stopping.
        features: `pretrained`, the published network, or `module:factory` of a feature extractor for realism. By
            default the published network where `embhub[judge]` is installed, else the classifier.
        ceiling: The real images behind the embedding, as for `real`: what the best generator would add. They stand in
            place of the generated images of the finding.
        positive: The label to detect. By default it is guessed where only one label is not called normal or the like.
        classifier: `small`, `resnet18`, `pretrained`, or `module:factory`, see `networks.find`.
        seeds: Number of repetitions, 2 or more.
        real_counts: Numbers of real images to train on, half from each class. By default as far as there are images.
        synthetic_counts: The same for generated images. With 0 real images the generated ones are alone.
        steps: Training steps in every arm. By default what suits the classifier.
        resolution: Side in pixels to which all images are resized. By default 64, for `pretrained` 128.
        fit: How images are fitted into the square. By default as those that the embeddings were trained on.
        mirror: Augment by exchanging left and right.
        real_where: Expression that selects rows of `real`.
        test_where: Expression that selects rows of `test`.
        dataset: Name of the images on a card. No path goes into the report.
        device: `auto`, or a torch device.
        report: Folder for the report, its page and learning curve, and finished trainings. A second call continues
            there.
        on_progress: Called with each step.

    Returns:
        The report, and remarks for the site.

    Raises:
        UsageError: Images, labels or counts do not fit, there is no such classifier, or it diverges.
        PrivacyError: A patient or an identical image is on both sides, or a name looks like a person's.
        ConfigError: The report cannot be written.
    """
    learner = find(classifier, steps=steps)
    folder, folders = asking.check(
        synthetic, arms or {}, seeds=seeds, dataset=dataset, report=report, regimes=regimes, real_share=real_share,
        frozen=learner.frozen,
    )  # fmt: skip
    resolution = resolution or learner.side
    learner.describe(resolution)
    how = choose_fit({f"{name} {n}": at for name, places in folders.items() for n, at in enumerate(places)}, fit)
    choices = Choices(learner, resolution, mirror, str(choose_device(device)), real_share)
    if features is None and (learner.frozen or pretrained.is_installed()):
        features = pretrained.NAME
    if features is not None:
        extractors.find(features, resolution, choices.device)
    else:
        extractors.check_classifier(learner, resolution)
    known = read_real(real, "real images", resolution, how, where=real_where, on_progress=on_progress)
    held = read_real(test, "test images", resolution, how, where=test_where, on_progress=on_progress)
    drawn = {
        name: [read_drawn(at, f"arm {name}", resolution, how, on_progress=on_progress) for at in places]
        for name, places in folders.items()
    }
    each = {
        name if not n else f"{name}, set {n + 1}": one for name, them in drawn.items() for n, one in enumerate(them)
    }
    chosen, negatives = check_labels(known, held, each, positive)
    check_apart(known, held, each)
    bases = base_patients.check(held, each)
    pool, trial = known.labelled(chosen), held.labelled(chosen)
    made = {name: [one.source.labelled(chosen) for one in them] for name, them in drawn.items()}
    cells = _cells(pool, made, regimes, controls, seeds, real_counts, synthetic_counts, stops=not learner.frozen)
    best = _ceiling(ceiling, resolution, how, held, chosen, next(iter(made.values()))[0])
    if best is not None:
        cells += [Cell(count, CEILING, best.most) for count in sorted({cell.real for cell in cells} - {0})]
    arms_taught = made if best is None else {**made, CEILING: [best]}
    taught = teach(
        cells, pool, arms_taught, trial, choices=choices, seeds=seeds, keep=folder / KEPT if folder else None,
        on_progress=on_progress,
    )  # fmt: skip
    sets = {name: len(them) for name, them in made.items()}
    found = EvaluationReport(
        embhub=__version__,
        dataset=dataset,
        positive=chosen,
        negative=tuple(negatives),
        unit="patient" if held.has_patients else "image",
        seeds=seeds,
        regimes=tuple(dict.fromkeys(regimes)),
        classifier=Classifier(
            name=learner.name, steps=learner.steps, batch=learner.batch, rate=learner.rate, resolution=resolution,
            mirrored=mirror and not learner.frozen, fit=how, real_share=real_share,
        ),
        **({"features": _features(features, choices.device)} if features else {}),
        real=outcome.group(pool, known.has_patients),
        test=outcome.group(trial, held.has_patients),
        arms=(
            *(outcome.arm(name, them, known, held, chosen) for name, them in drawn.items()),
            *([outcome.ceiling(best)] if best is not None else []),
        ),
        aucs=outcome.aucs(trial, taught, sets),
        differences=outcome.differences(trial, taught, sets),
        fidelity=realism.rows(pool, made, trial, (chosen, negatives), choices, features),
        worth=outcome.worth(trial, taught, pool, sets),
        remarks=(*remarks(known, held, each), *about_sets(drawn), *bases),
    )  # fmt: skip
    if folder is not None:
        write(found, folder)
    return Evaluated(
        found,
        tuple(note for one in (known, held, *(arm.source for arm in each.values())) for note in one.notes),
        cohorts.gather(known, held, chosen, count=found.headline.real if found.headline else 0, seeds=seeds),
    )


def _cells(
    pool: Labelled,
    made: Mapping[str, Sequence[Labelled]],
    regimes: Sequence[Regime],
    controls: bool,
    seeds: int,
    real_counts: Sequence[int] | None,
    synthetic_counts: Sequence[int] | None,
    *,
    stops: bool,
) -> list[Cell]:
    """The grid, with arms that have as many images as one another, and the controls of the first one."""
    numbers = _counts(real_counts, REAL_COUNTS, pool.most, "real images")
    most = {name: min(one.most for one in them) for name, them in made.items()}
    if synthetic_counts is None:  # arms compare where they have as many images
        amounts = dict.fromkeys(made, _counts(None, DRAWN_COUNTS, min(most.values()), "images"))
    else:
        amounts = {
            name: _counts(synthetic_counts, DRAWN_COUNTS, number, f"images of arm {name}")
            for name, number in most.items()
        }
    stopped = stoppable(pool, numbers, seeds) if controls and stops else []
    found = grid(numbers, amounts, list(dict.fromkeys(regimes)), stopped=stopped)
    first = next(iter(made))
    if controls:
        found += [Cell(count, first, max(amounts[first]), "normals") for count in sorted(set(numbers) - {0})]
    return found


def _ceiling(
    place: str | Path | None, resolution: int, how: Fit, test: Source, positive: str, drawn: Labelled
) -> Labelled | None:
    """The real images behind the embedding with the generated normals of its arm; None where they are not known."""
    if place is None:
        return None
    real = read_ceiling(place, resolution, how, test, positive).labelled(positive)
    return join(of_class(real, 1), of_class(drawn, 0))


def _features(name: str, device: str) -> str:
    """What the report calls the features; those of the published network with the digest of its weights."""
    if name != pretrained.NAME:
        return name
    return f"{name}: EfficientNet-Lite0, weights SHA-256 {pretrained.network(device).digest}"


def write(report: EvaluationReport, folder: Path) -> None:
    """Write the report, its page and its learning curve.

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    write_atomic(folder / CURVE, curve_png.to_png(report))
    write_atomic(folder / PAGE, page.render(report).encode())
    write_atomic(folder / REPORT, report.to_bytes())


def _counts(asked: Sequence[int] | None, usual: Sequence[int], most: int, what: str) -> list[int]:
    """What was asked for; else the usual counts as far as there are images, and all of them at the end."""
    if asked is None:
        fits = [count for count in usual if count <= most]
        return fits if max(fits, default=0) >= most * 0.8 else [*fits, most]
    if any(count < 0 or count == 1 for count in asked) or not any(asked):
        raise UsageError(f"counts of {what} are 0, or 2 and more", "half of the images are of each class")
    if max(asked) > most:
        raise UsageError(
            f"{max(asked)} {what} are asked for; {most} are available, half of each class", "ask for fewer"
        )
    return sorted(set(asked))


def about_sets(drawn: Mapping[str, Sequence[Drawn]]) -> tuple[str, ...]:
    """What the intervals leave out of the chance of training an embedding."""
    said = []
    first = next(iter(drawn.values()))
    if len(first) == 1:
        said.append(
            "One embedding was measured: the intervals leave out how much another training of the same recipe would"
            " differ. Pass several folders as one arm to include it."
        )
    elif len({one.embeddings for one in first}) < len(first):
        said.append(
            "Some folders of one arm were drawn with the same embeddings, or do not say with which: the intervals may"
            " leave out part of what another training of the same recipe would change."
        )
    if len(drawn) == 1:
        said.append(
            "No control arm was measured: images of plain words might have done the same. Pass such images as another"
            " arm."
        )
    return tuple(said)


def remarks(real: Source, test: Source, drawn: Mapping[str, Drawn]) -> tuple[str, ...]:
    """What could not be checked, for the report."""
    said = []
    if not (real.has_patients and test.has_patients):
        said.append(
            "The images name no patients: each counts as a person of its own, and whether a patient is among both the "
            "training and the test images could not be checked."
        )
    if any(one.redrawn for one in drawn.values()):
        said.append(
            "Some of the drawn images are real ones with a part drawn anew: whether these are of test patients could "
            "not be checked."
        )
    if any(not (one.embeddings and one.told) for one in drawn.values()):
        said.append(
            "Nothing says which embeddings drew some of the images, so whether these were learned from test patients "
            "could not be checked."
        )
    if any(one.embeddings and one.told and learned_from(one, test) is None for one in drawn.values()):
        said.append(
            "This site cannot tell from whom some of the embeddings were learned: whether test patients are among them "
            "could not be checked."
        )
    return tuple(said)
