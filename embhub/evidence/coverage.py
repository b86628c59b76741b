"""Which attacks an audit tried, and which it did not, under the names that EDPB Opinion 28/2024 gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from embhub.audits.report import AuditReport
from embhub.evidence.document import Coverage

Tried = Literal["tried", "partly", "not tried"]
_MEMBERSHIP = frozenset({
    "loss", "loss-difference", "lira-shadows", "lira-artifact", "rmia", "lira-online", "dataset-inference", "clid",
    "secmi", "pia", "gradient-alignment", "fcre",
})  # fmt: skip
_OPINION = "EDPB Opinion 28/2024"


def list_coverage(report: AuditReport, *, bounded: bool = False, copy_checked: bool = False) -> tuple[Coverage, ...]:
    """One row a kind of attack, those of the Opinion first; what no suite tries says so.

    Args:
        bounded: whether a privacy claim bounds what any reconstruction reaches, tried or not.
        copy_checked: whether the card records samples that the copy check found no copies among.
    """
    return tuple(_rows(report, bounded=bounded, copy_checked=copy_checked))


def _rows(report: AuditReport, *, bounded: bool, copy_checked: bool) -> Iterator[Coverage]:
    run = tuple(result.name for result in report.attacks)
    yield _membership(report, tuple(name for name in run if name in _MEMBERSHIP))
    row = _untried(_OPINION)
    yield row("attribute inference", "can something else about a patient be told from the file?")
    yield row(
        "exfiltration", "can training data be got out of the systems that hold them?",
        "The images stay where they are; how well that place is guarded is not for this tool to say.",
    )  # fmt: skip
    drawn = tuple(name for name in run if name in ("extraction", "re-identification"))
    notes = ["32 images were drawn and compared with those trained on and those kept back."] if drawn else []
    if copy_checked:
        notes.append("The copy check compared the samples on the card with every image trained on, and found no copy.")
    yield Coverage(
        source=_OPINION,
        family="regurgitation of training data",
        asks="does it draw a training image?",
        status="partly" if notes else "not tried",
        by=(*drawn, "copy-check") if copy_checked else drawn,
        note=" ".join(notes),
    )
    yield row("model inversion", "can images be computed back from the learned numbers?")
    yield row(
        "reconstruction", "can one image be rebuilt by somebody who knows all others?",
        "The privacy claim bounds how often that succeeds: see the table in section 2." if bounded else "",
    )  # fmt: skip
    beside = _untried("beside the list")
    yield beside("several releases together", "do two embeddings of the same patients tell more than one?")
    yield beside("the base model", "does it remember the images that it was trained on?")
    few = "" if report.suite == "mechanism" else "Rates at few false alarms look there, with few eyes."
    yield beside("unusual patients", "is somebody unlike all others told more easily?", few)
    yield Coverage(
        source="beside the list",
        family="faults of the privatising code",
        asks="does the code that hides patients in noise do so?",
        status="tried" if report.suite == "mechanism" else "not tried",
        by=tuple(name for name in run if name.startswith("mechanism-")),
        note="" if report.suite == "mechanism" else "Only a file with a privacy claim has such code: suite mechanism.",
    )


def _membership(report: AuditReport, by: tuple[str, ...]) -> Coverage:
    status: Tried = "not tried" if not by else "partly" if report.suite == "quick" else "tried"
    note = {
        "quick": "The quick suite has the two weakest attacks; it misses what those with shadow embeddings see.",
        "mechanism": "The file itself was not attacked: canaries went through the code that its claim rests on.",
    }.get(report.suite, "Attackers who know more than a patient's image were not tried.")
    return Coverage(
        source=_OPINION,
        family="membership inference",
        asks="can it be told whether a patient was trained on?",
        status=status,
        by=by,
        note=note,
    )


def _untried(source: str) -> Callable[..., Coverage]:
    def row(family: str, asks: str, note: str = "") -> Coverage:
        return Coverage(source=source, family=family, asks=asks, status="not tried", by=(), note=note)

    return row
