"""What a training tells a person on the way."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]


class Remarks:
    """Remarks for a person, told when they arise; `kept` are those that also belong to the result."""

    def __init__(self, on_note: Say | None) -> None:
        self._on_note = on_note
        self.kept: tuple[str, ...] = ()

    def say(self, sentence: str) -> None:
        if self._on_note:
            self._on_note(sentence)

    def warn(self, *sentences: str) -> None:
        for sentence in sentences:
            self.kept += (sentence,)
            self.say(sentence)
