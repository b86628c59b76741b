"""Checkpoints: what is written is read again, and nothing else is taken for one, even with the right digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from embhub.diffusion.training import checkpoints
from embhub.diffusion.training.checkpoints import Checkpoint, decode, encode
from embhub.diffusion.training.inversion import State
from embhub.errors import ConfigError, UsageError


def checkpoint() -> Checkpoint:
    rows, means, squares = ({"text_encoder": torch.arange(6.0).reshape(2, 3) + part} for part in range(3))
    generator = torch.Generator().manual_seed(1).get_state()
    return Checkpoint({"steps": "9"}, 7, State(rows, means, squares, generator, (0.5, 0.25)))


def forge(facts: object = None, **changed: torch.Tensor | None) -> bytes:
    """A checkpoint with other parts, under a digest that fits."""
    line, _, rest = encode(checkpoint()).partition(b"\n")[2].partition(b"\n")
    tensors = {**safetensors.torch.load(rest), **{name.replace("__", "."): t for name, t in changed.items()}}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    body = (json.dumps(facts).encode() if facts is not None else line) + b"\n" + safetensors.torch.save(kept)
    return b"embhub.checkpoint/1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_what_is_written_is_read_again() -> None:
    found = decode(encode(checkpoint()))
    assert found.definition == {"steps": "9"} and found.seed == 7 and found.state.losses == (0.5, 0.25)
    assert torch.equal(found.state.rows["text_encoder"], checkpoint().state.rows["text_encoder"])
    assert decode(forge()).seed == 7


BAD: dict[str, dict[str, Any]] = {
    "no random numbers": {"generator": None},
    "random numbers of another length": {"generator": torch.zeros(3, dtype=torch.uint8)},
    "random numbers of another kind": {"generator": torch.zeros(5056)},
    "no losses": {"losses": None},
    "a table of losses": {"losses": torch.zeros(2, 2, dtype=torch.float64)},
    "one loss without a list": {"losses": torch.zeros((), dtype=torch.float64)},
    "losses that are whole numbers": {"losses": torch.zeros(2, dtype=torch.int64)},
    "moments of another shape": {"squares__text_encoder": torch.zeros(2, 4)},
    "something else beside": {"more": torch.zeros(2)},
    "a definition that is no text": {"facts": {"definition": {"steps": 9}, "seed": 7}},
    "a seed that is no number": {"facts": {"definition": {}, "seed": True}},
    "a seed that no generator takes": {"facts": {"definition": {}, "seed": 2**64}},
}


@pytest.mark.parametrize("name", BAD)
def test_what_nothing_wrote_is_damaged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.checkpoint"
    path.write_bytes(forge(**BAD[name]))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        checkpoints.read(path)


@given(st.data())
def test_any_change_is_seen(data: st.DataObject) -> None:
    whole = encode(checkpoint())
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    for changed in (whole[:place], whole[:place] + bytes([whole[place] ^ other]) + whole[place + 1 :]):
        with pytest.raises((ValueError, KeyError, TypeError)):
            decode(changed)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_may_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "x.checkpoint"
    path.write_bytes(encode(checkpoint()))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others"):
        checkpoints.read(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "x.checkpoint"
    checkpoints.write(real, checkpoint())
    link.symlink_to(real)
    with pytest.raises(ConfigError, match="is no file of"):
        checkpoints.read(link)
    checkpoints.write(link, replace(checkpoint(), seed=8))
    assert not link.is_symlink() and checkpoints.read(real).seed == 7


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.checkpoint", 0o600)
    with pytest.raises(ConfigError, match="is no file of"):
        checkpoints.read(tmp_path / "x.checkpoint")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_generator_takes(seed: int) -> None:
    with pytest.raises(UsageError, match="a seed of"):
        checkpoints.CheckpointStore(None, resume=False).choose_seed(seed)
