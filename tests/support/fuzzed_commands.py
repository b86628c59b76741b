"""Commands of embhub with options that nobody meant, in a process that stops where torch would be imported.

`python -m tests.support.fuzzed_commands FOLDER EXAMPLES` ends with the first command that ends unexpectedly.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.releases import make_card, make_embedding, make_export
from tests.support.without_torch import Stop, TorchWanted

CODES = {0, 2, 3, 4, 5, 6, 7, 8}
"""Documented exit codes; 1 is what an unforeseen error ends with."""

NUMBERS = [
    "0",
    "1",
    "2",
    "-1",
    "8",
    "0.5",
    "1e-9",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "9" * 400,
    "0x10",
    "１",
    "1_000",
    " 3",
]
FILES = [
    *("good", "good/list.csv", "empty", "nowhere", "there.safetensors", "damaged.safetensors", "x.safetensors"),
    *("a.card.yaml", "broken.yaml", "volumes.yaml", "export.json", "empty.csv", ".", "..", "", "a" * 300, "x\ny"),
]
WORDS = [
    *(
        "",
        " ",
        "<a>",
        "<a",
        "a b",
        "mri, {}",
        "{}{}",
        "{0}",
        "{x!r}",
        "%s",
        "label=a",
        "label=",
        "=",
        "a=b=c",
        "Mrs Jansen",
    ),
    *("ns/name", "ns/name@1.0.0", "ns/../x", "/", "@", "ns/name@", "é\u0301", "\ud800", "\x1b[31m", "x\x7f", "\u202e"),
    *("builtin", "builtin + unet=x", "builtin + lora=", "owner/name@rev", "unet=", "unet=good", "cuda:99", "cpu:x"),
    *("SHA256:abc", "2026-01-01", "2026-13-45T99:99:99Z", "http://127.0.0.1:9", "http://[::1", "file:///x", "https://"),
    *(
        "tcp://:x",
        "1,2,3,4",
        "1,,",
        "json:dumps",
        "os:system",
        "nosuch:thing",
        "epsilon<=x",
        "epsilon<=2,no-leak",
        "pt:0.5",
    ),
]
VALUES = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(FILES), st.sampled_from(WORDS),
    st.text(max_size=12).filter(lambda text: "\x00" not in text and "/" not in text),
)  # fmt: skip


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        return [(path, command)]
    context = click.Context(command)
    named = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [leaf for name, found in named if found is not None for leaf in leaves(found, (*path, name))]


@st.composite
def commands(draw: st.DrawFn, tree: list[tuple[tuple[str, ...], click.Command]]) -> list[str]:
    """One command with arguments and some of its options; required ones are seldom left out."""
    path, command = draw(st.sampled_from(tree))
    words = list(path)
    for parameter in command.params:
        needed = parameter.required or isinstance(parameter, click.Argument)
        if draw(st.integers(0, 9)) < (1 if needed else 7):
            continue
        if isinstance(parameter, click.Argument):
            words.append(draw(VALUES))
        elif getattr(parameter, "is_flag", False):
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], _choose(draw, parameter)]
    return words


def _choose(draw: st.DrawFn, parameter: click.Parameter) -> str:
    """Mostly a value of the right kind: a wrong one is refused by click, and nothing else is reached."""
    kind = parameter.type
    if draw(st.integers(0, 3)) == 0:
        return draw(VALUES)
    if isinstance(kind, click.Choice):
        return str(draw(st.sampled_from(list(kind.choices))))
    if isinstance(kind, click.types.FloatRange | click.types.IntRange):
        low = 0 if kind.min is None else kind.min
        return str(draw(st.sampled_from([low, low + 1, kind.max or low + 2, 2, 0.5])))
    return draw(st.sampled_from(FILES if isinstance(kind, click.Path) else WORDS))


def prepare(folder: Path) -> None:
    """Images, an embedding, a card and files that are none."""
    for name in ("good", "empty"):
        (folder / name).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((16, 16), 60 * number, np.uint8)).save(folder / f"good/{number}.png")
    (folder / "good/list.csv").write_text("path,patient_id,label\n0.png,p1,a\n1.png,p2,b\n2.png,p3,a\n")
    (folder / "there.safetensors").write_bytes(make_embedding().data)
    (folder / "damaged.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    from embhub.cards import card_draft

    (folder / "a.card.yaml").write_bytes(card_draft.write_draft(make_card(make_embedding()), []))
    (folder / "broken.yaml").write_text("a: [\n")
    (folder / "volumes.yaml").write_text("schema: embhub.volumes/1\nvolumes: [{path: nothing}]\n")
    (folder / "export.json").write_bytes(make_export())
    (folder / "empty.csv").write_text("")


def run(words: list[str]) -> tuple[int | None, str]:
    """How a command ended, None where it wanted torch, and what it said."""
    from embhub.__main__ import main

    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace"),
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | None = main(words)
        except TorchWanted:
            code = None
    err.flush()
    return code, err.buffer.getvalue().decode()


def check(words: list[str]) -> None:
    """Refuse a command that ends with an unforeseen error."""
    try:
        code, said = run(words)
    except Exception as error:
        raise AssertionError(f"embhub {words!a} ended in {type(error).__name__}: {error!a}") from error
    assert code is None or (code in CODES and "Traceback" not in said), f"embhub {words!a} ended with {code}: {said!a}"


def main(folder: Path, examples: int) -> None:
    """Try `examples` commands in `folder`."""
    from embhub.cli import root

    inner = folder / "a/b/c"  # `..` stays inside
    inner.mkdir(parents=True)
    prepare(inner)
    os.environ["EMBHUB_HOME"] = str(folder / "home")
    os.environ["EMBHUB_REGISTRY"] = "http://127.0.0.1:9"
    os.chdir(inner)
    sys.stdin = io.StringIO()
    tree = leaves(root)

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(words=commands(tree))
    def attempt(words: list[str]) -> None:
        check(words)

    test: Any = attempt
    test()


if __name__ == "__main__":
    sys.meta_path.insert(0, Stop())
    main(Path(sys.argv[1]), int(sys.argv[2]))
