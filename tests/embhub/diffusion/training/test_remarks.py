"""What a training without privacy says of few patients."""

from __future__ import annotations

import pytest

from embhub.diffusion.training.remarks import FEW, Remarks


@pytest.mark.parametrize(("names", "said"), [
    (["one"], "only 1 patient and no differential privacy"),
    (["one", "two", "one"], "only 2 patients and no differential privacy"),
    ([str(number) for number in range(FEW - 1)], f"only {FEW - 1} patients and no differential privacy"),
])  # fmt: skip
def test_few_patients_are_warned_of_by_their_number_and_not_that_of_images(names: list[str], said: str) -> None:
    heard: list[str] = []
    remarks = Remarks(heard.append)
    remarks.say_if_few(names, "patient")
    assert len(heard) == 1 and heard[0].startswith(said)
    assert remarks.kept == ()  # the number of patients is for the person who trains, and for no file


def test_nothing_is_said_of_many_patients() -> None:
    heard: list[str] = []
    Remarks(heard.append).say_if_few([str(number) for number in range(FEW)], "patient")
    assert heard == []
