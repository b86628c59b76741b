"""How commands speak: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import click

from embhub.progress import OnProgress, Progress

COLOURS = {"ok": "green", "note": "blue", "warning": "yellow", "failed": "red"}


def ask_on_terminal() -> Callable[[str], bool] | None:
    """What asks a person to answer yes or no; None where nobody sits at a terminal."""
    return (lambda question: click.confirm(question, err=True)) if sys.stdin.isatty() else None


def print_json(value: Any) -> None:
    """One JSON document on stdout; its outermost keys are words with underscores, as programs like them."""
    document = _with_machine_keys(value)
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_spell)
    # A name on the command line may hold bytes that are no text: JSON can spell them, the terminal cannot.
    click.echo(text if is_encodable(text) else json.dumps(document, indent=2, default=_spell))


def is_encodable(text: str) -> bool:
    """Whether `text` can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def print_result(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """A command's result: JSON for a program, lines for a person."""
    print_json(facts) if as_json else print_pairs(facts)


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """A command's list: JSON for a program, a table for a person."""
    print_json(list(rows)) if as_json else print_table([tuple(map(str, row.values())) for row in rows])


def _with_machine_keys(value: Any) -> Any:
    """Of a document, or of a list of them; what is inside can be named by a site, and stays."""
    if isinstance(value, Mapping):
        return {str(name).replace(" ", "_").replace("-", "_"): item for name, item in value.items()}
    return [_with_machine_keys(item) for item in value] if isinstance(value, list | tuple) else value


def _spell(value: object) -> str:
    """Times as ISO 8601 has them."""
    return value.isoformat() if isinstance(value, date) else str(value)


def print_pairs(pairs: Mapping[str, Any]) -> None:
    """`name  value` lines on stdout, the names aligned; empty values are left out."""
    shown = {name: value for name, value in pairs.items() if value not in (None, "", (), [])}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {value}")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns on stdout, as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_findings(findings: Sequence[Any], *, err: bool = False) -> None:
    """One line a check: how it came out, its name, and what was found."""
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        mark = click.style(finding.outcome.ljust(7), fg=COLOURS.get(finding.outcome))
        click.echo(f"  {mark}  {finding.check.ljust(width)}  {finding.text}", err=err)


def remark(text: str) -> None:
    """A line for people, on stderr: stdout belongs to results."""
    click.echo(text, err=True)


def note(text: str) -> None:
    """A remark while something runs: it does not tear the progress bar."""
    from tqdm import tqdm

    tqdm.write(f"note: {text}", file=sys.stderr)


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A callback that draws one tqdm bar a stage on stderr; lines without a terminal stay few."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    pace = 0.2 if sys.stderr.isatty() else 15.0  # seconds between two drawings: a log is no terminal

    def draw(progress: Progress) -> None:
        bar = bars.get(progress.stage)
        if bar is None:
            for old in bars.values():
                old.update((old.total or old.n) - old.n)  # a stage is over when the next one begins
                old.close()
            bar = bars[progress.stage] = tqdm(
                total=progress.total, desc=progress.stage, mininterval=pace, dynamic_ncols=True
            )
        bar.total = progress.total
        bar.set_postfix_str(progress.note, refresh=False)
        bar.update(progress.done - bar.n)

    try:
        yield draw
    finally:
        for bar in bars.values():
            bar.close()
