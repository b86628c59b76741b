"""What a training tells a person on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

FEW = 20
"""Patients; of fewer, an attack found many in a study (docs/explanation/capacity.md)."""
Say = Callable[[str], None]


class Remarks:
    """Remarks for a person, told when they arise; `kept` are those that also belong to the result."""

    def __init__(self, on_note: Say | None) -> None:
        self._on_note = on_note
        self.kept: tuple[str, ...] = ()

    def say(self, sentence: str) -> None:
        if self._on_note:
            self._on_note(sentence)

    def say_if_few(self, names: Sequence[str], unit: str) -> None:
        """Say that a training without privacy gives away those whom it learns from, where they are few.

        `names` has the patient, or the image, of each image; `unit` is what they name.
        """
        count = len(set(names))
        if count < FEW:
            self.say(
                f"only {count} {unit}{'' if count == 1 else 's'} and no differential privacy: the file may reveal "
                "who they are. On phantoms, an attack found 15 to 31 % of ten patients, where it finds 1 % by chance"
            )

    def warn(self, *sentences: str) -> None:
        for sentence in sentences:
            self.kept += (sentence,)
            self.say(sentence)
