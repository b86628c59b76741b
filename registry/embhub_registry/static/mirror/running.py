"""A mirror as a program: threads follow, the server answers, and all end with the process.

The list of withdrawals is asked for while a round is under way, too: no other answer of the registry holds it up.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from embhub import durable
from embhub.errors import ConfigError, EmbhubError, UsageError
from embhub.formats import instants
from embhub.log.errors import ForkedLogError
from embhub.site import config
from embhub_registry import serving
from embhub_registry.serving import Lifecycle
from embhub_registry.static.mirror import web
from embhub_registry.static.mirror.following import Mirror, Round

WATCH_SECONDS = 10.0  # between two questions for withdrawals, or the interval where that is shorter


def run(mirror: Mirror, *, host: str, port: int, interval: float, as_json: bool = False) -> None:
    """Serve what is held, and refresh it every `interval` seconds, until SIGTERM or SIGINT.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    listening = serving.listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    over = threading.Event()
    lifecycle = Lifecycle(
        url=f"http://{shown}:{listening.getsockname()[1]}", as_json=as_json, drain=0.0, on_drain=over.set
    )
    application: Any = web.build(mirror, interval=interval)
    lifecycle.server = uvicorn.Server(
        serving.configure(application, callback_notify=lifecycle.notify, timeout_graceful_shutdown=20)
    )
    follower = threading.Thread(
        target=follow, args=(mirror,), kwargs={"interval": interval, "wait": over.wait, "say": _say},
        daemon=True,
    )  # fmt: skip
    follower.start()
    serving.run(lifecycle.server, listening)
    over.set()
    follower.join(timeout=20)


def follow(mirror: Mirror, *, interval: float, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
    """Refresh until `wait` says that it is over. What fails is said, and tried again; a fork is not."""
    seconds = min(interval, WATCH_SECONDS)
    threading.Thread(target=_watch, args=(mirror, seconds, wait, say), daemon=True, name="withdrawals").start()
    while True:
        pause = interval
        try:
            done = mirror.refresh()
            say(in_words(done))
            pause = 0.0 if done.left else interval
        except ForkedLogError as error:
            say(f"error: {error.message}; nothing is taken from {mirror.url} any more")
        except EmbhubError as error:
            say(f"warning: {error.message}")
        if wait(pause):
            return


def _watch(mirror: Mirror, seconds: float, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
    """Ask for withdrawals until it is over, whatever a round waits for. What fails is said by the round."""
    while not wait(seconds):
        try:
            if dropped := mirror.withdraw():
                say(f"{instants.write(datetime.now(UTC))}  {dropped:,} releases withdrawn")
        except EmbhubError:
            continue
        except Exception as error:  # noqa: BLE001  # whatever it is, the next list may be a withdrawal
            say(f"warning: withdrawals were not read: {type(error).__name__}: {error}")


def in_words(done: Round) -> str:
    """One line on a refresh."""
    when = instants.write(datetime.now(UTC))
    text = f"{when}  {done.releases:,} releases held, {done.taken:,} new, {done.dropped:,} dropped"
    if done.left:
        text += f", {done.left:,} repositories or findings left for the next round"
    return "\n".join([text, *(f"warning: not taken: {problem}" for problem in done.problems)])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # what a service says of its work


@contextmanager
def open_mirror(
    folder: Path, url: str, *, name: str = "", token: Path | None = None, include: Collection[str] = ()
) -> Iterator[Mirror]:
    """The mirror in a folder, held by one process at a time. What it remembers and pins is in `home` there.

    Raises:
        ConfigError: the folder belongs to something else, another process uses it, or it cannot be written; or the file
            `token` holds no token.
    """
    if (folder / "registry.db").exists():
        raise ConfigError(f"{folder} is the folder of a registry", "give the mirror a folder of its own with --dir")
    if include and token is None:
        raise UsageError("--include needs --token-file", "nobody reads gated or private repositories without a token")
    followed = config.check_registry(url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    with durable.alone(folder), _at_home((folder / "home").absolute()):
        read = _read_token(token) if token is not None else None
        yield Mirror(folder, followed, name or f"mirror.{_host_name()}", token=read, include=include)


def _read_token(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")[:1_000]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} cannot be read as text", "write the access token into it, and nothing else"
        ) from error
    return config.check_token(text)


@contextmanager
def _at_home(home: Path) -> Iterator[None]:
    """What the mirror pins and remembers is its own, not that of the person who runs it."""
    before = os.environ.get("EMBHUB_HOME")
    os.environ["EMBHUB_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            del os.environ["EMBHUB_HOME"]
        else:
            os.environ["EMBHUB_HOME"] = before


def _host_name() -> str:
    """This machine's name, as far as it can be part of a witness's name."""
    return re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()) or "localhost"
