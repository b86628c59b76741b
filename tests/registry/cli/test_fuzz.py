"""Any words after `embhub-registry`: an exit code of the reference and a message, never a traceback."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embhub_registry import serving
from embhub_registry.cli import root
from embhub_registry.operation.administration import add_user
from embhub_registry.operation.observability import audit_following
from embhub_registry.storage import logs
from embhub_registry.storage.folder import create
from tests.support.quick import examples
from tests.support.servers import run_here

CODES = {0, 2, 4, 5, 7}  # docs/reference/registry-cli.md
ODD = [
    "", " ", "-", "--", "0", "-1", "1", "80000", "1e400", "nan", "inf", "9" * 40, "admin", "registry", "a/b", "A/../b",
    "none", "yes",
    "hub.example.org", "https://hub.example.org/embhub", "https://[", "https://x:99999", "SHA256:" + "A" * 43, "f" * 40,
    "1.0.0", "\udcff", "é", "а", "a\nb", "x" * 5000, "%s{0}", "2026-13-45", "rate.exempt", "quota.bytes",
    "security.contact",
    "/nonexistent", "/dev/null", ".", "::1", "127.0.0.1", "publish", "reader", "stolen", "hf_emb_" + "x" * 43,
]  # fmt: skip


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        here = (*path, name)
        found += commands(command, here) if isinstance(command, click.Group) else [(here, command)]
    return found


COMMANDS = commands(root)
VALUES = st.sampled_from(ODD) | st.text(st.characters(exclude_characters="\0"), max_size=30) | st.integers().map(str)


def fitting(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Values of a parameter: one of its choices now and then, so that what lies behind is reached too."""
    if isinstance(parameter.type, click.Choice):
        return st.sampled_from([str(choice) for choice in parameter.type.choices]) | VALUES
    return VALUES


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    path, command = draw(st.sampled_from(COMMANDS))
    words = list(path)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            if parameter.required or draw(st.booleans()):
                words.append(draw(st.sampled_from(parameter.opts)))
                words += [] if parameter.is_flag else [draw(fitting(parameter))]
        else:
            words.append(draw(fitting(parameter)))
    return words + (draw(st.lists(VALUES, max_size=1)) if draw(st.integers(0, 9)) == 9 else [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = create(tmp_path_factory.mktemp("fuzz") / "hub", name="Test", url="https://hub.example.org", audit="optional")
    add_user(made, "admin", namespace="registry", role="admin")
    made.close()
    return made.folder


@pytest.fixture
def own_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `serve --log` sends the log of this process; later tests have it on standard error again."""
    monkeypatch.setattr(logs, "_OUTPUT", dataclasses.replace(logs._OUTPUT))


@pytest.mark.usefixtures("own_log")
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=command_lines())
@example(words=["init", "--url", "hub.example.org"])
@example(words=["serve", "--port", "80000"])
@example(words=["serve", "--port", "-1"])
@example(words=["serve", "--log", "server.log"])
@example(words=["quota", "set", "registry", "--bytes", "9" * 40])
@example(words=["quota", "set", "registry", "--bytes", "²"])
@example(words=["setting", "set", "rate.token_burst", "1e308"])
@example(words=["setting", "set", "retention.token_days", "1e300"])
@example(words=["curate", "yank", "registry/x", "--reason", "\udcff"])
@example(words=["user", "add", "\udcff", "--namespace", "registry", "--role", "reader"])
@example(words=["audit", "export", "--since", "9" * 30])
@example(words=["backup", "make", ""])
@example(words=["backup", "make", "\udcff"])
@example(words=["backup", "restore", "/dev/null"])
def test_no_words_end_in_a_traceback(
    words: list[str], folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "serve", listen_only)
    monkeypatch.setattr(audit_following, "follow", partial(follow_to_the_end, audit_following.follow))
    monkeypatch.chdir(tmp_path_factory.getbasetemp())  # a backup to a name that was drawn goes there
    where = tmp_path_factory.mktemp("new") / "hub" if words[0] == "init" or "restore" in words[:2] else folder
    done = run_here("--dir", where, *words, check=False)
    assert done.returncode in CODES, (words, done.stderr)
    assert "Traceback" not in done.stderr and "error: unexpected" not in done.stderr, (words, done.stderr)
    assert done.returncode == 0 or done.stderr.strip(), words


def follow_to_the_end(follow: Callable[..., Iterator[str]], registry: object, **options: Any) -> Iterator[str]:
    """What `audit export --follow` does until it waits for a line to come."""

    def ended() -> bool:
        options["until"]()
        return True

    return follow(registry, **{**options, "until": ended})


def listen_only(registry: object, *, host: str, port: int, **options: Any) -> None:
    """All of `serve` that reads options; waiting for requests would take for ever. Loopback alone is listened on."""
    if host in ("127.0.0.1", "::1") or not host.isascii() or not host.strip():
        serving.listen(host, 0 if port >= 1 else port).close()
