"""A mirror as a program: one thread follows, the server answers, and both end with the process."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from embhub.errors import ConfigError, UsageError
from embhub.site import config
from embhub_registry import serving
from embhub_registry.serving import Lifecycle
from embhub_registry.static.mirror import following, web
from embhub_registry.static.mirror.following import Mirror


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
        target=following.follow, args=(mirror,), kwargs={"interval": interval, "wait": over.wait, "say": _say},
        daemon=True,
    )  # fmt: skip
    follower.start()
    serving.run(lifecycle.server, listening)
    over.set()
    follower.join(timeout=20)


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
    with _alone(folder), _at_home((folder / "home").absolute()):
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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror}", "choose a folder that you may write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"another process mirrors into {folder}", "stop it, or use another folder") from error
    finally:
        os.close(descriptor)


def _host_name() -> str:
    """This machine's name, as far as it can be part of a witness's name."""
    return re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower()) or "localhost"
