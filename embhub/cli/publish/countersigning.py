"""`embhub audit --countersign`: an auditor of another house vouches for an audit report."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from embhub.cli import options
from embhub.cli.describing import refusals_listed, warn_of_yank
from embhub.cli.output import print_json, print_pairs, progress_bar, remark
from embhub.errors import UsageError

if TYPE_CHECKING:
    from embhub.client.member.countersigning import Draft

_OWN = ("audit", "yes")
_SHARED = ("key", "registry")  # for --register and --design-out too
_OPTIONS = (
    click.option(
        "--countersign",
        is_flag=True,
        help="Attack nothing: as an auditor, sign the report of the release FILE (a repository or a folder).",
    ),
    click.option(
        "--audit",
        type=options.FILE,
        metavar="FILE",
        help="For --countersign: your own report; beside the one signed along, if there is one.",
    ),
    click.option(
        "--key", metavar="NAME", help="For --countersign, --register and --design-out  [default: as for `sign`]"
    ),
    click.option(
        "--registry", metavar="URL", help="For --countersign, --register and --design-out  [default: as for `pull`]"
    ),
    click.option("--yes", is_flag=True, help="For --countersign: sign without asking."),
)


def instead(attack: Callable[..., None]) -> Callable[..., None]:
    """The command, with `--countersign` and what belongs to it: then the release is countersigned, nothing attacked."""

    @functools.wraps(attack)
    def run(file: Path, countersign: bool, as_json: bool, **choices: Any) -> None:
        own = {name: choices.pop(name) for name in _OWN}
        _check_mixture(countersign)
        if countersign:
            _countersign(file, as_json=as_json, **own, **{name: choices[name] for name in _SHARED})
        else:
            attack(file=file, as_json=as_json, **choices)

    for option in reversed(_OPTIONS):
        option(run)
    return run


def _countersign(target: Path, *, yes: bool, as_json: bool, **choices: Any) -> None:
    from embhub.client.member.countersigning import countersign, prepare

    with refusals_listed(as_json=as_json), progress_bar() as on_progress:
        draft = prepare(str(target), on_progress=on_progress, **choices)
    warn_of_yank(draft.verified)
    _say(draft)
    if not yes and not (sys.stdin.isatty() and click.confirm("Sign this?", err=True)):
        raise UsageError("nothing was signed", "pass --yes, or run this on a terminal and confirm")
    done = countersign(draft, ask_passphrase=options.ask_passphrase)
    print_json(asdict(done)) if as_json else print_pairs(asdict(done))
    if done.folder:
        remark(f"nothing was sent: `embhub push --from {done.folder}` does")


def _say(draft: Draft) -> None:
    """On stderr, before anything is signed."""
    remark(click.style("what your signature vouches for", bold=True))
    for sentence in draft.vouches_for():
        remark(f"  - {sentence}")
    remark(click.style("what is not vouched for", bold=True))
    for sentence in draft.leaves_open():
        remark(f"  - {sentence}")


def _check_mixture(countersign: bool) -> None:
    """Options of the one mode are refused in the other; none is ignored in silence."""
    context = click.get_current_context()
    given = {
        parameter.name: parameter.opts[0]
        for parameter in context.command.params
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    }
    always = {"file", "as_json", "countersign", *_SHARED}
    for name, option in given.items():
        if name not in always and (name in _OWN) != countersign:
            what = "attacks, and --countersign does not" if countersign else "belongs to --countersign"
            raise UsageError(f"{option} {what}", "`embhub audit --help` says which options go together")
