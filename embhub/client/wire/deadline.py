"""A call that ends in time, whatever the other side does."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def within(seconds: float, call: Callable[[], Result], *, otherwise: Exception) -> Result:
    """What `call` returns or raises; `otherwise`, raised, where it takes longer than `seconds`.

    A socket's timeout starts anew with each byte: who drips an answer, or its headers, holds a client for ever. So the
    call runs in a thread of its own. One that is late is left behind, and ends with its connection or the process.
    """
    returned: list[Result] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001  # raised again below, in the caller's thread
            raised.append(error)

    context: Any = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise otherwise
    return returned[0]
