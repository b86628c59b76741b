"""`embhub start`: from a folder of images to a first sheet, by five questions and the commands that one would type.

Each step is a command of embhub, run with the words that are printed at the end: nothing is trained another way.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from embhub import destinations
from embhub.cli import options
from embhub.cli.generate import sheet
from embhub.cli.output import print_json, remark
from embhub.errors import PrivacyError, UsageError

HELD_OUT, HELD_OUT_IN_PRIVATE = 0.3, 0.2
"""Share of the patients, as in the tutorial and in docs/how-to/eighty-images.md."""

T = TypeVar("T")


@click.command("start", short_help="Go from a folder of images to a first sheet, by five questions.")
@click.argument("images", required=False, type=options.FILE, metavar="[FOLDER]")
@click.option("--shows", metavar="TEXT", help='What the images show, in words of the base: "frontal chest x-ray".')
@click.option("--base", metavar="NAME|PATH|HUB-ID", help="Base model; on a terminal one that fits is proposed.")
@click.option("--private/--plain", "private", default=None, help="Train with or without differential privacy.")
@click.option("--name", metavar="NAME", help="Name of the finding: pneumonia makes <pneumonia> and its file.")
@click.option("--epsilon", type=click.FloatRange(0, min_open=True), metavar="E", help="With --private: DP epsilon.")
@click.option("--n-public", type=click.IntRange(1), metavar="N", help="With --private: declared number of patients.")
@click.option("--unit", type=click.Choice(["patient", "image"]), help="With --private: whose data epsilon protects.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Optimization steps  [default: the base's own]")
@options.as_json
@click.pass_context
def command(
    context: click.Context, /, images: Path | None, shows: str | None, base: str | None, as_json: bool, **chosen: Any
) -> int:
    """Go from a FOLDER of your own images to a sheet of what an embedding of them generates, by five questions.

    It asks for the folder, what the images show, the base, private or plain training, and a name. It inspects the
    folder, proposes a base, trains, and writes a sheet without and with the embedding, from the same seeds. With a
    built-in base that takes a minute or two on two CPU cores. Nothing is signed or published. At the end it prints the
    commands that it ran, and those that publish.

    A private training begins only after you have seen what the base generates by itself, and have confirmed the
    epsilon that it will spend. Without a terminal every answer is an option, and --epsilon is that confirmation.

    \b
    Example:
      embhub start
      embhub start images --shows "frontal chest x-ray" --base builtin-xray --plain --name pneumonia
      embhub start images --shows "frontal chest x-ray" --base builtin-xray --name pneumonia \\
        --private --epsilon 4 --n-public 50
    """
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        start = ask_start(images, shows, base)
        if code := _run(context, start.inspecting):
            return code
        training, drawing = ask_training(start, partial(_run, context), **chosen)
        if code := _run(context, training) or _run(context, drawing):
            return code
    _print(list_facts(start.inspecting, training, drawing), as_json=as_json)
    return 0


@dataclass(frozen=True)
class Start:
    """The first three answers; `names_patients`: whether any image has a patient id."""

    images: str
    shows: str
    base: str
    names_patients: bool

    @property
    def inspecting(self) -> list[str]:
        """The words that inspect the folder; none for a base that `inspect` does not read: `train` checks them, too."""
        from embhub import builtin_bases

        known = self.base in builtin_bases.NAMES or (Path(self.base) / "unet").is_dir()
        return ["inspect", self.images, "--base", self.base] if known else []


def list_facts(inspecting: Sequence[str], training: Sequence[str], drawing: Sequence[str]) -> dict[str, Any]:
    """What was written, what ran, and what publishes; the last word of a command is the place that it wrote."""
    file = training[-1]
    audit = ["audit", file, *(["--suite", "mechanism"] if "--epsilon" in training else [])]
    return {
        "embedding": file,
        "sheet": str(Path(drawing[-1]) / "series.png"),
        "ran": [shlex.join(["embhub", *words]) for words in (inspecting, training, drawing) if words],
        "publish": [shlex.join(["embhub", *words]) for words in (audit, ["card", "init", file], ["push", file])],
    }


def ask_start(images: Path | None, shows: str | None, base: str | None) -> Start:
    """The first three questions. Raises UsageError for an answer that is missing, or a folder without images."""
    from embhub.images.checks.base_fit import propose_base, shown_by
    from embhub.images.manifests.listing import list_images

    place = str(_ask(str(images) if images else None, "FOLDER", "Folder of your images"))
    listing = list_images(Path(place), None, None)
    said = _ask(shows, "--shows", 'What they show, such as "frontal chest x-ray"')
    proposed, why = propose_base(said, shown_by(listing.headers), listing.kind)
    if base is None:
        remark(why)
    chosen = _ask(base, "--base", "Base model (embhub base list)", proposed)
    named = any(sample.patient_id is not None for sample in listing.samples)
    place = f"./{place}" if place.startswith("-") else place
    return Start(place, said, chosen, named)


def ask_training(
    start: Start, run: Callable[[Sequence[str]], int], *, private: bool | None, name: str | None, steps: int | None,
    epsilon: float | None, n_public: int | None, unit: str | None,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """The other questions, and the words that train and that draw; a person sees the base's images before an epsilon
    is asked for. Raises as `ask_start`; PrivacyError where nobody confirmed the epsilon."""
    from embhub.artifact.header import check_token

    privately = _ask(private, "--private or --plain", "Train with differential privacy", False)
    if not privately and (epsilon or n_public or unit):
        raise UsageError("--epsilon, --n-public and --unit need --private", "leave them out, or train with --private")
    called = _ask(name, "--name", "Name of what the images have in common, such as pneumonia")
    token, file = f"<{called}>", f"{called}.safetensors"
    check_token(token)
    destinations.check_embedding(file, overwrite=False)
    destinations.check_folder(Path(f"{called}-sheet"))
    protecting = []
    if privately:
        _show_base(start, run, f"{called}-base")
        protecting = _ask_privacy(start, epsilon, n_public, unit)
    caption = f"{start.shows}, {token}"
    training = ["train", start.images, "--holdout", str(HELD_OUT_IN_PRIVATE if privately else HELD_OUT)]
    training += ["--base", start.base, "--token", token, "--caption", f"{start.shows}, {{}}"]
    training += [*(["--steps", str(steps)] if steps else []), *protecting, "--out", file]
    return training, sheet.words(start.shows, caption, file)


def _show_base(start: Start, run: Callable[[Sequence[str]], int], folder: str) -> None:
    """Let a person see whether the base generates such images at all: no budget mends a base that does not."""
    if sys.stdin.isatty():
        destinations.check_folder(Path(folder))
        run(["generate", start.shows, "--base", start.base, "-n", sheet.ROWS, "--out", folder])
        remark(f"Look at {folder}: images of the base alone. If they are of something else, choose another base.")


def _ask_privacy(start: Start, epsilon: float | None, n_public: int | None, unit: str | None) -> list[str]:
    """Options of a private training, once the epsilon is confirmed: by a person, or by being an option."""
    spent = f"{_ask(epsilon, '--epsilon', 'Epsilon to spend', 4.0):.15g}"
    what = unit or ("patient" if start.names_patients or not sys.stdin.isatty() else "image")
    number = f"Round number of {what}s to publish, which you surely have; decide it without counting"
    declared = _ask(n_public, "--n-public", number)
    if sys.stdin.isatty() and not click.confirm(
        f"This charges epsilon {spent} for each {what} to this site's privacy budget. Train", err=True
    ):
        raise PrivacyError("nothing was trained or charged: the epsilon was not confirmed", "run embhub start again")
    return ["--epsilon", spent, "--n-public", str(declared), *(["--unit", "image"] if what == "image" else [])]


def _ask(given: T | None, option: str, question: str, proposed: T | None = None) -> T:
    """The answer that was given, else a person's. Raises UsageError where there is neither."""
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            f"{option} is missing, and there is no terminal to ask on",
            f"give {option}{f'; {proposed} fits' if isinstance(proposed, str) else ''}; see embhub start --help",
        )
    ask: Any = click.confirm if isinstance(proposed, bool) else partial(click.prompt, type=type(proposed or ""))
    answer: T = ask(question, default=proposed, err=True)
    return answer


def _run(context: click.Context, words: Sequence[str]) -> int:
    """Run a command of embhub as if it had been typed; its exit code."""
    root = context.find_root()
    if not words or not isinstance(root.command, click.Group):
        return 0
    remark(f"\n$ {shlex.join(['embhub', *words])}")
    name, found, rest = root.command.resolve_command(root, list(words))
    assert found is not None  # noqa: S101  # resolve_command raises for a name that is no command
    with found.make_context(name, rest, parent=root) as inner:
        return int(found.invoke(inner) or 0)


def _print(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    click.echo(f"\nLook at {facts['sheet']}: left without the embedding, right with it, each row from one seed.")
    for heading, lines in (("These commands ran", facts["ran"]), ("To publish it", facts["publish"])):
        click.echo("\n".join([f"\n{heading}:", *(f"  {line}" for line in lines)]))
