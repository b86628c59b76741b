"""A call ends in time, with its own result, its own error, or the one that says it was late."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from embhub.client.wire.deadline import within
from embhub.errors import RegistryError

LATE = RegistryError("late", "later")


def test_a_call_in_time_returns_and_raises_as_always() -> None:
    assert within(5, lambda: 7, otherwise=LATE) == 7
    assert within(5, lambda: None, otherwise=LATE) is None
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0, otherwise=LATE)


def test_a_call_that_is_late_is_left_behind() -> None:
    go_on = threading.Event()
    began = time.monotonic()
    with pytest.raises(RegistryError, match="late"):
        within(0.2, go_on.wait, otherwise=LATE)
    assert time.monotonic() - began < 5
    go_on.set()


def test_the_context_goes_along() -> None:
    where = contextvars.ContextVar("where", default="nowhere")
    where.set("here")
    assert within(5, where.get, otherwise=LATE) == "here"
