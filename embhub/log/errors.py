"""Why what a log says is refused: the classes are those of `embhub.refusals`."""

from __future__ import annotations

from embhub.refusals import BadCosignatureError as BadCosignatureError
from embhub.refusals import ForkedLogError as ForkedLogError
from embhub.refusals import LogError as LogError
from embhub.refusals import MalformedLogError as MalformedLogError
from embhub.refusals import NotIncludedError as NotIncludedError
from embhub.refusals import WrongLogError as WrongLogError


def malformed(what: str, reason: str) -> MalformedLogError:
    """The refusal of bytes that are not in their canonical form."""
    return MalformedLogError(f"not a {what} that embhub reads: {reason}", "fetch it again; its writer is at fault")
