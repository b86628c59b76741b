"""Which attacks an audit ran, and which it did not, under the names that EDPB Opinion 28/2024 gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from embhub.audits.report import AuditReport
from embhub.evidence.document import Coverage
from embhub.pages.messages import mark

Tried = Literal["tried", "partly", "not tried"]
_MEMBERSHIP = frozenset({
    "loss", "loss-difference", "lira-shadows", "lira", "rmia", "lira-online", "dataset-inference", "clid",
    "secmi", "pia", "gradient-alignment", "fcre",
})  # fmt: skip
_OPINION = "EDPB Opinion 28/2024"
_BEYOND = "not named in the Opinion"


def list_coverage(report: AuditReport, *, bounded: bool = False, copy_checked: bool = False) -> tuple[Coverage, ...]:
    """One row a kind of attack, those of the Opinion first; what no suite tries says so.

    Args:
        bounded: whether a privacy claim bounds what any reconstruction reaches, tried or not.
        copy_checked: whether the card records samples that the copy check found no copies among.
    """
    return tuple(_rows(report, bounded=bounded, copy_checked=copy_checked))


def _rows(report: AuditReport, *, bounded: bool, copy_checked: bool) -> Iterator[Coverage]:
    run = report.tried
    yield _membership(report, tuple(name for name in run if name in _MEMBERSHIP))
    row = _untried(_OPINION)
    yield row(mark("attribute inference"), "can other facts about a patient be inferred from the file?")
    yield row(
        mark("exfiltration"), "can training data be extracted from the systems that hold them?",
        "The images stay where they are. This tool cannot assess how well that place is protected.",
    )  # fmt: skip
    drawn = tuple(name for name in run if name in ("extraction", "re-identification"))
    notes = ["32 images were generated and compared with the training images and the held-out images."] if drawn else []
    if copy_checked:
        notes.append(
            "The copy check compared the samples on the card with the training images that the site recorded or named,"
            " and found no copy."
        )
    yield Coverage(
        source=_OPINION,
        family=mark("regurgitation of training data"),
        asks="does it generate a training image?",
        status="partly" if notes else "not tried",
        by=(*drawn, "copy-check") if copy_checked else drawn,
        note=" ".join(notes),
    )
    yield row(mark("model inversion"), "can images be reconstructed from the learned numbers?")
    yield row(
        mark("reconstruction"), "can an attacker who knows all other images reconstruct one?",
        "The privacy claim bounds how often this succeeds: see the table in section 2." if bounded else "",
    )  # fmt: skip
    beside = _untried(_BEYOND)
    yield beside("several releases together", "do two embeddings of the same patients reveal more than one?")
    yield beside("the base model", "does it memorise the images that it was trained on?")
    few = "" if report.suite == "mechanism" else "TPR at a low FPR measures this, with few samples."
    yield beside("unusual patients", "is a patient who is unlike all others easier to identify?", few)
    yield Coverage(
        source=_BEYOND,
        family="errors in the differential-privacy code",
        asks="does the code that adds privacy noise work as claimed?",
        status="tried" if report.suite == "mechanism" else "not tried",
        by=tuple(name for name in run if name.startswith("mechanism-")),
        note="" if report.suite == "mechanism" else "This applies to files with a privacy claim: --suite mechanism.",
    )


def _membership(report: AuditReport, by: tuple[str, ...]) -> Coverage:
    status: Tried = "not tried" if not by else "partly" if report.suite == "quick" else "tried"
    note = {
        "quick": "The quick suite runs the two weakest attacks. It misses leaks that shadow models detect.",
        "mechanism": "The file itself was not attacked: canaries were passed through the code behind its claim.",
    }.get(report.suite, "Attackers who know more than a patient's image were not simulated.")
    return Coverage(
        source=_OPINION,
        family=mark("membership inference"),
        asks="can an attacker determine whether a patient was in the training data?",
        status=status,
        by=by,
        note=note,
    )


def _untried(source: str) -> Callable[..., Coverage]:
    def row(family: str, asks: str, note: str = "") -> Coverage:
        return Coverage(source=source, family=family, asks=asks, status="not tried", by=(), note=note)

    return row
