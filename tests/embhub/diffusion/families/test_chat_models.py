"""Text encoders that are chat models, and prompts that a pipeline cleans, frames or cuts: the rows stay in them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from embhub.diffusion.families import detect, encoders, room
from embhub.diffusion.foreign.assigning import read_widths
from embhub.diffusion.training.rows import Rows
from tests.support import families
from tests.support.stock_calls import listen

KLEIN = pytest.param("klein", marks=pytest.mark.thorough)
PROMPT = "mri, <cspca> x"


def plugged(kind: str) -> tuple[Any, list[int]]:
    """A pipeline with three vectors plugged in, and their numbers in its tokenizer."""
    pipe: Any = families.build(kind)
    pipe.set_progress_bar_config(disable=True)
    (encoder,) = encoders(pipe)
    rows = torch.randn(3, encoder.table.shape[1], generator=torch.Generator().manual_seed(0))
    Rows(pipe, "<cspca>", {encoder.name: rows}).plug_in()
    return pipe, pipe.tokenizer.convert_tokens_to_ids([f"<cspca|{number}>" for number in range(3)])


def read_by(pipe: Any) -> Tensor:
    """What the text encoder reads when the stock pipeline is called, (T,)."""
    read: list[Tensor] = []
    hook = pipe.text_encoder.register_forward_pre_hook(
        lambda _, args, named: read.append(args[0] if args else named["input_ids"]), with_kwargs=True
    )
    listen(pipe, PROMPT, steps=2)
    hook.remove()
    return read[0][0]


@pytest.mark.parametrize("kind", ["zimage", "qwen-image", KLEIN])
def test_the_rows_stand_inside_the_message_of_the_user(kind: str) -> None:
    pipe, rows = plugged(kind)
    ids = read_by(pipe).tolist()
    places = [ids.index(row) for row in rows]
    assert places == list(range(places[0], places[0] + 5, 2)), "one after the other, with the blanks between them"
    before, after = pipe.tokenizer.decode(ids[: places[0]]), pipe.tokenizer.decode(ids[places[-1] + 1 :])
    assert before.endswith("<|im_start|>user\nmri, ")
    assert after.startswith(" x<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("kind", ["pixart", "sana"])
def test_the_rows_are_read_in_their_place(kind: str) -> None:
    pipe, rows = plugged(kind)
    ids = read_by(pipe).tolist()
    assert [ids.count(row) for row in rows] == [1, 1, 1] and ids.index(rows[0]) < ids.index(rows[2])


@pytest.mark.parametrize("kind", ["sana", "zimage", "qwen-image"])
def test_what_is_cut_off_a_framed_prompt_is_none_of_it(kind: str) -> None:
    """Every word of a prompt that just fits changes what the denoiser is told; one more would be lost in silence."""
    pipe: Any = families.build(kind)
    (encoder,) = encoders(pipe)
    own = len(encoder.tokenizer("").input_ids)
    words = "z" * (room(pipe, encoder) - own)
    assert len(encoder.tokenizer(words).input_ids) == room(pipe, encoder)
    with torch.no_grad():
        full, first, last = (
            detect(pipe).condition(pipe, [text])["hidden"] for text in (words, "y" + words[1:], words[:-1] + "y")
        )
    assert not torch.equal(full, last) and not torch.equal(full, first)


@pytest.mark.parametrize("kind", ["pixart", "sana", "zimage", "qwen-image"])
def test_a_mask_leaves_out_what_is_no_token(kind: str) -> None:
    """Of two prompts the shorter is told as alone, whatever stands behind its end."""
    pipe: Any = families.build(kind)
    family, latents, time = detect(pipe), torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    with torch.no_grad():
        both = family.condition(pipe, ["mri", "mri of a knee"])
        alone = family.condition(pipe, ["mri"])
        first = {name: part[:1].clone() for name, part in both.items()}
        behind = ~first["mask"].bool()
        assert bool(behind.any()) and bool(both["mask"][1].bool().sum() > both["mask"][0].bool().sum())
        first["hidden"][behind] = 100.0
        told = family.predict(pipe, latents, time, first)
        torch.testing.assert_close(told, family.predict(pipe, latents, time, alone), rtol=1e-4, atol=1e-5)
        other = {name: part[1:] for name, part in both.items()}
        assert not torch.allclose(told, family.predict(pipe, latents, time, other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["pixart", "sana"])
def test_cleaning_a_prompt_leaves_the_token(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Beautiful Soup installed, PixArt's own call drops tags of HTML, and a placeholder token looks like one."""

    def clean(texts: Any, clean_caption: bool = False) -> list[str]:
        found = [texts] if isinstance(texts, str) else texts
        return [re.sub("<[^>]*>", "", text).lower().strip() for text in found]

    pipe: Any = families.build(kind)
    monkeypatch.setattr(pipe, "_text_preprocessing", clean)
    (encoder,) = encoders(pipe)
    for token in ("<cspca>", "<a-2>"):
        Rows(pipe, token, {encoder.name: torch.zeros(2, encoder.table.shape[1])}).plug_in()
    cleaned = ["mri, <cspca>, and <a-2>", "<a-2>x"]
    assert pipe._text_preprocessing(["MRI, <cspca>, and <a-2> ", "<b><a-2></b>x"], clean_caption=True) == cleaned
    assert pipe._text_preprocessing("<cspca>") == ["<cspca>"]


def test_a_file_of_another_program_gets_the_name_of_the_component() -> None:
    assert read_widths({"encoders": {"text_encoder": {"kind": "qwen3", "dim": 2560}}, "prediction_type": "flow"}) == {
        "text_encoder": 2560
    }
    assert read_widths({"encoders": {"text_encoder": {"kind": "t5", "dim": 96}}, "prediction_type": "epsilon"}) == {
        "t5xxl": 96
    }
