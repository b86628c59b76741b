"""The id of a request: in the answer's `X-Request-Id`, in the log line, and in the words of stock clients' errors."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

HEADER = b"x-request-id"
# A proxy in front sends the first, `huggingface_hub` the second.
SENT = (HEADER, b"x-amzn-trace-id")
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._=;-]{0,99}")


def choose(sent: Mapping[bytes, bytes]) -> str:
    """The id that the caller sent where it is short and plain, so that both logs have the same; else a new one."""
    for name in SENT:
        value = sent.get(name)
        if value is not None and _PLAIN.fullmatch(value):
            return value.decode("ascii")
    return str(uuid.uuid4())
