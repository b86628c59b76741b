"""The registry's application, served by a thread of the test's own process: a test can then look into its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from embhub_registry.serving import configure, listen, run

THREAD = "event loop"


@contextmanager
def serving(
    application: Starlette, *, is_exempt: Callable[[str], bool] = lambda _: True, idle_seconds: int = 1
) -> Iterator[uvicorn.Server]:
    """Answers on a free port of loopback, `server.config.port`, until the block ends."""
    config = configure(application, idle_seconds=idle_seconds, timeout_graceful_shutdown=1)
    server, listening = uvicorn.Server(config), listen("127.0.0.1", 0, is_exempt=is_exempt)
    thread = threading.Thread(target=run, args=(server, listening), name=THREAD, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    server.config.port = listening.getsockname()[1]
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(timeout=10)
