"""`embhub card`: the description that a person must complete before an embedding is published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_result, remark
from embhub.cli.publish.card_form import can_ask, fill_in
from embhub.cli.whole_help import WholeHelpGroup
from embhub.errors import PrivacyError

if TYPE_CHECKING:
    from embhub.diffusion.outputs import Drafted


@click.group("card", cls=WholeHelpGroup, short_help="Create, fill in and check an embedding card.")
def command() -> None:
    """Create and check the embedding card that is published with an embedding.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card edit prostate-csPCa.card.yaml
      embhub card check prostate-csPCa.card.yaml
    """


@command.command("init")
@click.argument("file", type=options.FILE)
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Card file to write  [default: STEM.card.yaml beside the embedding]",
)
@click.option(
    "--evaluation",
    type=options.FILE,
    metavar="FILE",
    help="Evaluation report: the evaluation.json of `embhub evaluate`.",
)
@click.option(
    "--reader-study",
    type=options.FILE,
    metavar="FILE",
    help="Result that `embhub research reader-study result` wrote.",
)
@click.option(
    "--samples",
    type=options.FILE,
    metavar="FILE",
    help="Record of the sample sheet: the STEM.samples.json of `embhub copy-check --sheet`.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing card and discard its answers.")
@options.as_json
def init(
    file: Path, out: Path | None, evaluation: Path | None, reader_study: Path | None, samples: Path | None, force: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Draft a card for the embedding in FILE.

    Computable fields are filled in, and site defaults come from config.yaml (`site:`). Fields that a person must fill
    in are listed; on a terminal the command asks for them. Modality, view and body part are proposed from the caption
    and the base, never from headers. Legal basis, consent, ethics and pixel review are facts of one release: those of
    `site:` stay to be confirmed. Run the command again after an audit: answers are kept, computed fields are updated.
    With --evaluation the card of a file without a privacy claim gets the exact figures of an evaluation, and so does
    the model-index that the Hub reads. With --reader-study it gets those of a reader study. --samples adds a sheet of
    generated images to the release.

    \b
    Example:
      embhub card init prostate-csPCa.safetensors
      embhub card init prostate-csPCa.safetensors --evaluation evaluation/evaluation.json
    """
    from embhub.diffusion.outputs import draft_card, kept_evaluation

    found = draft_card(file, out=out, evaluation=evaluation, reader_study=reader_study, samples=samples, force=force)
    if can_ask() and not as_json:
        found = fill_in(found)
    missing = found.questions if as_json else len(found.questions) or "nothing"
    unconfirmed = found.unconfirmed if as_json else ", ".join(found.unconfirmed)
    print_result({"card": found.path, "missing": missing, "to confirm": unconfirmed}, as_json=as_json)
    if evaluation is None and reader_study is None and kept_evaluation(found.path):
        remark("  kept: the evaluation of the earlier card; run `embhub evaluate` again after a new training")
    _say_open(found)


def _say_open(found: Drafted) -> None:
    from embhub.cards.answers import write

    for line in found.questions:
        remark(f"  fill in: {line}")
    for name, value in found.proposed.items():
        remark(f"  proposed: {name}: {write(name, value)}, as caption and base say; check it in `embhub card edit`")
    for name in found.unconfirmed:
        remark(f"  confirm: {name}, from `site:` of config.yaml: check that it holds for this release")


@command.command("edit")
@click.argument("file", type=options.FILE)
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port  [default: a free one]")
@options.as_json
def edit(file: Path, port: int, as_json: bool) -> None:
    """Fill in a card in the browser, at the address that is printed.

    FILE is a .card.yaml, or an embedding, for which a card is drafted. Nothing is sent to another machine. Open
    questions stand first, then answers of the site to confirm, then what was answered. A word such as thorax is enough
    for a code of RadLex. Each answer is written into the card when it is saved. The command ends with the button "Save
    and finish", or with Ctrl-C.

    \b
    Example:
      embhub card edit prostate-csPCa.safetensors
      embhub card edit prostate-csPCa.card.yaml --port 8765
    """
    from embhub.cli.publish.card_page import CardServer
    from embhub.diffusion.outputs import open_card

    with CardServer(open_card(file), port=port) as server:
        print_result({"address": server.url}, as_json=as_json)
        server.serve_until_finished()
    _say_open(server.drafted)


@command.command("check")
@click.argument("card", type=options.FILE)
@options.as_json
def check(card: Path, as_json: bool) -> None:
    """Validate CARD (a .card.yaml) and list every field that is missing, invalid or still to be confirmed.

    A text that looks like personal data is refused: the field is named, and its text is not repeated.

    \b
    Example:
      embhub card check prostate-csPCa.card.yaml
    """
    from embhub.cards.card import parse_yaml
    from embhub.cards.personal_data import personal_data_in_card
    from embhub.release.files import CARD, LIMITS, read_file

    found = parse_yaml(read_file(card, limit=LIMITS[CARD]))
    if signs := personal_data_in_card(found):
        raise PrivacyError(f"the card seems to hold personal data: {'; '.join(signs[:5])}", "correct these fields")
    print_result({"card": f"{found.name} {found.version}", "complete": True if as_json else "yes"}, as_json=as_json)
