"""The options of an audit that writes its report, written once for library and command line; nothing here imports
torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embhub.audits.verdict import LARGEST_AUC, LARGEST_TPR, Suite
from embhub.options.fields import check_ranges, option
from embhub.options.precision import MEANING, Precision


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What is attacked, how hard, and where the report goes.

    Attributes:
        members: training images; those that `train` remembers by default.
        nonmembers: held-out images of the same kind; those that `train` remembers by default.
        suite: `quick`, `standard` (shadow models), `thorough` (all attacks) or `mechanism` (the DP code).
        shadows: number of shadow embeddings that are attacked in turn; four more are trained as references.
        workers: processes that train shadow embeddings.
        cluster: Dask scheduler that trains them instead.
        auc_bound: AUC that `no-leak-detected` has to rule out.
        tpr_bound: true-positive rate at 1 % false positives that it has to rule out.
        precision: number format in which shadow embeddings are trained; that of the audited training by default.
        replay: number of an earlier audit of the file to run again.
        worst: whether to list the ten most exposed patients; they are written nowhere.
        worst_limit: largest exposure of a patient, in standard deviations above the mean.
        out: the report, with its page beside it; `STEM.audit.json` beside the embedding by default.

    Raises:
        UsageError: a value out of its range.
    """

    members: str | Path | None = option(
        "Member images: the training data  [default: what `train` remembers]", metavar="IMAGES"
    )
    nonmembers: str | Path | None = option(
        "Non-member images: held-out data of the same kind  [default: what `train` remembers]", metavar="IMAGES"
    )
    suite: Suite = option(
        "Attack suite: quick compares losses; standard trains shadow models (hours); thorough runs every"
        " membership inference attack; mechanism tests the DP implementation itself.",
        default="quick",
    )
    shadows: int = option(
        "Number of shadow models that are attacked in turn; four more are references. More give more power.",
        default=8,
        low=4,
        high=512,
    )
    workers: int = option("Worker processes that train shadow embeddings.", default=1, low=1, high=256)
    cluster: str | None = option("Dask scheduler of your site that trains them instead.", metavar="tcp://HOST:PORT")
    auc_bound: float = option("AUC that no-leak-detected has to rule out.", default=LARGEST_AUC, above=0.5, high=0.6)
    tpr_bound: float = option(
        "True-positive rate (TPR) at 1 % FPR that it has to rule out.", default=LARGEST_TPR, above=0.01, high=0.1
    )
    precision: Precision | None = option(
        f"Number format in which shadow embeddings are trained; {MEANING}  [default: that of the audited training]"
    )
    replay: int | None = option("Repeat audit N of this file with its random seed, on the site that made it.", low=1)
    worst: bool = option(
        "Also list the ten most exposed patients, by your own names: on this screen only, in no file.", default=False
    )
    worst_limit: float | None = option(
        "Exit with code 6 if a patient's exposure is more than SD standard deviations above the mean.",
        low=0,
        metavar="SD",
    )
    out: Path | None = option(
        "Audit report (JSON), with its page (HTML) beside it  [default: STEM.audit.json beside the embedding]",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
