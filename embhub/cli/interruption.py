"""What a person is told who interrupts a training: how to resume it, and which files it left."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from embhub.cli.output import remark
from embhub.diffusion.training.stopped import TrainingInterruptedError


def repeat(context: click.Context, *more: str) -> str:
    """The running command as a person may type it again, with `more` options."""
    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif parameter.opts[0] not in more:
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join([*words, *more])


@contextmanager
def resumable(context: click.Context, *, list_files: bool = True) -> Iterator[None]:
    """Print the command that resumes an interrupted training, and the files that remain; the interruption goes on.

    Without `list_files` it names none: where training and result share a folder.

    Raises:
        TrainingInterruptedError: as it came.
    """
    try:
        yield
    except TrainingInterruptedError as stopped:
        remark(f"{stopped}; to resume:\n  {repeat(context, '--resume')}")
        for line in _remaining(context, stopped) if list_files else ():
            remark(line)
        raise


def _remaining(context: click.Context, stopped: TrainingInterruptedError) -> Iterator[str]:
    """Which files there are, one line each; they are as private as the images."""
    out = Path(context.params["out"])
    yield f"{out}: {'still the earlier one' if out.exists() else 'not written'}"
    if stopped.checkpoint is not None:
        yield f"{stopped.checkpoint}: the checkpoint, private; running the command without --resume discards it"
    previews = Path(context.params.get("folder") or out.with_name(f"{out.stem}-previews"))
    if found := sum(1 for _ in previews.glob("step-*.png")):
        yield f"{previews}: {found} preview sheet{'s' if found > 1 else ''}, private; delete them yourself"
