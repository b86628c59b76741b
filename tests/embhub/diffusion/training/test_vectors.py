"""From one vector to as many as an encoder has room for, and several tokens in one prompt, on each kind of Stable
Diffusion's shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from embhub.artifact import embedding
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases.pipelines import freeze
from embhub.diffusion.families import detect, encoders
from embhub.diffusion.generation.loading import load_into
from embhub.diffusion.training import inversion
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from tests.support import families, pipelines
from tests.support.quick import others_thorough

KINDS = {
    "SD 1": lambda: pipelines.build(),
    "SD 2": lambda: pipelines.build(prediction="v_prediction", width=48),
    "BERT": lambda: pipelines.build(encoder="bert"),
    "SDXL": lambda: families.build("sdxl"),
}
MOST = {"SD 1": 64, "SD 2": 64, "BERT": 61, "SDXL": 64}
"""An encoder of 64 tokens has room for 61 vectors, one letter and two marks."""


@pytest.fixture(params=others_thorough(KINDS, ("SD 1", "SDXL")))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pipe(kind: str) -> Any:
    made = KINDS[kind]()
    made.set_progress_bar_config(disable=True)
    freeze(made)
    return made


def build(pipe: Any, rows: dict[str, Tensor], token: str) -> Embedding:
    named = {name: rows[component].numpy() for name, component in LAYOUTS[detect(pipe).layout].items()}
    return embedding.build(named, token=token, base=None, base_name="tiny", training={}, dtype="float32")


def heard(pipe: Any, prompt: str) -> dict[str, Tensor]:
    """The rows that each encoder reads of a prompt, (T, d), as the pipeline encodes it."""
    found: dict[str, Tensor] = {}
    hooks = [
        encoder.model.get_input_embeddings().register_forward_hook(
            lambda _m, _a, out, name=encoder.name: found.__setitem__(name, out[0])
        )
        for encoder in encoders(pipe)
    ]
    with torch.no_grad():
        pipe.encode_prompt(prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    for hook in hooks:
        hook.remove()
    return found


def places(read: Tensor, rows: Tensor) -> int:
    """Where `rows` stand in what was read, all of them and in order."""
    starts = [i for i in range(len(read) - len(rows) + 1) if torch.equal(read[i : i + len(rows)], rows)]
    assert len(starts) == 1
    return starts[0]


@pytest.mark.filterwarnings("ignore::embhub.diffusion.generation.loading.BaseWarning")
@pytest.mark.parametrize("most", [False, True])
def test_one_vector_and_as_many_as_there_is_room_for(kind: str, pipe: Any, most: bool) -> None:
    vectors = MOST[kind] if most else 1
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    recipe = ResolvedRecipe(steps=1, num_vectors=vectors, batch_size=2, mixed_precision=False)
    rows = dict(inversion.fit(pipe, latents, token="<a>", caption="x {}", recipe=recipe, seed=0).rows)
    inserted = insert(pipe, "<a>", rows)
    with inserted.active(), torch.no_grad():
        learned = detect(pipe).condition(pipe, [inserted.expand("x <a>")])
    assert load_into(pipe, build(pipe, rows, "<a>")) == "<a>"
    read = heard(pipe, "x <a>")
    assert all(places(read[name], part) > 0 for name, part in rows.items())
    with torch.no_grad():
        told = detect(pipe).condition(pipe, ["x <a>"])
    assert all(torch.equal(told[name], part) for name, part in learned.items())


def test_one_more_than_there_is_room_for_is_refused() -> None:
    pipe = KINDS["BERT"]()
    with pytest.raises(UsageError, match="62 vectors and the caption make 65 tokens; this base reads 64"):
        insert(pipe, "<a>", {"text_encoder": torch.zeros(62, pipelines.WIDTH)}).check_fits("x <a>")


@pytest.mark.filterwarnings("ignore::embhub.diffusion.generation.loading.BaseWarning")
def test_three_tokens_in_one_prompt(pipe: Any) -> None:
    widths = {encoder.name: encoder.table.shape[1] for encoder in encoders(pipe)}
    known = {
        token: {name: torch.randn(count, width) for name, width in widths.items()}
        for token, count in (("<first>", 1), ("<second>", 5), ("<third-one>", 3))
    }
    for token, rows in known.items():
        load_into(pipe, build(pipe, rows, token))
    for order in (["<first>", "<second>", "<third-one>"], ["<third-one>", "<first>", "<second>"]):
        read = heard(pipe, f"mri, {order[0]} and {order[1]}, {order[2]}")
        for name in widths:
            starts = [places(read[name], known[token][name]) for token in order]
            assert starts == sorted(starts)
