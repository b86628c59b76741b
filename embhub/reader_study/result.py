"""From ratings to the result that may leave the site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from embhub.cards.reader_study import Figure, ReaderStudyResult, describe_readers
from embhub.errors import UsageError
from embhub.reader_study import ratings
from embhub.reader_study.ratings import Rating
from embhub.reader_study.statistics import Estimate, Scores, mean_auc, mean_share
from embhub.reader_study.study import Kind, Study, read_study

_MIDDLE = 3


def compute(folder: Path) -> tuple[ReaderStudyResult, int]:
    """The result over all readers who rated every image.

    Args:
        folder: the study.

    Returns:
        The result, and how many readers began and did not finish: they are left out.

    Raises:
        UsageError: there is no study, or nobody finished it.
        ConfigError: a damaged file.
    """
    study = read_study(folder)
    answers = ratings.read(folder, study)
    complete = answers.complete(study)
    unfinished = len(answers.roles) - len(complete)
    if not complete:
        raise UsageError(
            f"no reader has rated all {len(study.cases)} images ({unfinished} began)",
            "finish the study first: embhub research reader-study serve",
        )
    roles = Counter(answers.roles[reader] for reader in complete)
    return _result(study, complete, dict(sorted(roles.items()))), unfinished


def _result(study: Study, complete: Mapping[str, Sequence[Rating]], roles: Mapping[str, int]) -> ReaderStudyResult:
    origin = {kind: _scores(study, complete, kind) for kind in ("real", "generated")}
    seen = {kind: None if study.finding is None else _seen(study, complete, kind) for kind in ("real", "generated")}
    return ReaderStudyResult(
        schema="embhub.reader-study/1", dataset=study.dataset, finding=study.finding,
        embeddings=list(study.embeddings), readers=dict(roles),
        real_images=len(study.names("real")), generated_images=len(study.names("generated")),
        separation=_figure(mean_auc(origin["real"], origin["generated"])),
        taken_for_real=_figure(mean_share((origin["generated"] < _MIDDLE).astype(float))),
        taken_for_generated=_figure(mean_share((origin["real"] > _MIDDLE).astype(float))),
        finding_in_generated=seen["generated"], finding_in_real=seen["real"],
    )  # fmt: skip


def _scores(study: Study, complete: Mapping[str, Sequence[Rating]], kind: str) -> Scores:
    places = [place for place, case in enumerate(study.cases) if case.kind == kind]
    return np.array([[said[place].origin for place in places] for said in complete.values()], dtype=float)


def _seen(study: Study, complete: Mapping[str, Sequence[Rating]], kind: Kind | str) -> Figure:
    places = [place for place, case in enumerate(study.cases) if case.kind == kind]
    yes = np.array([[said[place].finding == "yes" for place in places] for said in complete.values()], dtype=float)
    return _figure(mean_share(yes))


def _figure(estimate: Estimate) -> Figure:
    return Figure(value=estimate.value, low=min(estimate.low, estimate.value), high=max(estimate.high, estimate.value))


def describe(result: ReaderStudyResult) -> dict[str, str]:
    """The result for a person, as pairs of name and text."""
    pairs = {
        "data set": result.dataset,
        "readers": describe_readers(result.readers),
        "images": f"{result.generated_images} generated, {result.real_images} real",
        "separation (mean AUC)": _in_words(result.separation),
        "generated, taken for real": _in_words(result.taken_for_real),
        "real, taken for generated": _in_words(result.taken_for_generated),
    }
    if result.finding_in_generated is not None and result.finding_in_real is not None:
        pairs[f"generated that show: {result.finding}"] = _in_words(result.finding_in_generated)
        pairs[f"real that show: {result.finding}"] = _in_words(result.finding_in_real)
    return pairs


def _in_words(figure: Figure) -> str:
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"
