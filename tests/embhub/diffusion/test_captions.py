"""Captions of single images: used by training, shadows and attacks alike, and found in nothing that leaves the site."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.__main__ import main
from embhub.artifact.header import BadHeaderError, check_training
from embhub.diffusion.attacks.evidence import draw, measure_losses
from embhub.diffusion.attacks.shadow_training import Order, carry_out
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.training import batched, eval_loss, inversion
from embhub.diffusion.training.prompts import Prompts, join_prompts, one_for_all, prompts_of
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import PrivacyError, UsageError
from embhub.images.images import read_images
from embhub.images.manifests.sample import Sample
from embhub.site.memory import runs
from tests.support import kandinsky, pipelines
from tests.support.training import train

TOKEN, CAPTION = "<a>", "mri, {}"
RECIPE = ResolvedRecipe(num_vectors=1, steps=4, batch_size=3, mixed_precision=False, initializer_text="mri")
SECRET = "left side zzq portable"


def latents(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def own(*texts: str) -> Prompts:
    kept = tuple(dict.fromkeys(texts))
    return Prompts(kept, tuple(kept.index(text) for text in texts), own=True)


def sample(caption: str | None, row: int = 2) -> Sample:
    return Sample(Path("x.png"), "p", row=row, caption=caption)


@pytest.fixture(scope="module")
def pipe() -> Any:
    built: Any = pipelines.build()
    for part in (built.unet, built.text_encoder, built.vae):
        part.requires_grad_(False).eval()
    return built


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    rows = ["path,patient_id,caption"]
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,p{number},{SECRET if number % 2 else 'right side, <a>, b' if number % 4 else ''}")
    (folder / "manifest.csv").write_text("\n".join(row if row.count(",") < 3 else quoted(row) for row in rows) + "\n")
    return folder


def quoted(row: str) -> str:
    path, patient, caption = row.split(",", 2)
    return f'{path},{patient},"{caption}"'


def test_a_caption_stands_alone_or_behind_the_template() -> None:
    found = prompts_of(
        [sample("left side"), sample(""), sample("a {} b"), sample("a <a> b"), sample(None)], CAPTION, TOKEN
    )
    assert found.each(range(5)) == ("mri, {}, left side", CAPTION, "a {} b", "a {} b", CAPTION)
    assert found.texts == ("mri, {}, left side", CAPTION, "a {} b") and found.own
    assert prompts_of([sample(None)], CAPTION, TOKEN) == one_for_all(CAPTION)
    with pytest.raises(UsageError, match="row 7 has the place of the token twice"):
        prompts_of([sample("{} and <a>", 7)], CAPTION, TOKEN)


def test_two_sides_have_captions_or_neither_has() -> None:
    both = join_prompts(own("x {}", "y {}"), own("y {}", "z {}"))
    assert both.each(range(4)) == ("x {}", "y {}", "y {}", "z {}") and both.texts == ("x {}", "y {}", "z {}")
    with pytest.raises(UsageError, match="of one side have captions"):
        join_prompts(own("x {}"), one_for_all(CAPTION))


def test_equal_captions_train_as_one_prompt_does(pipe: Any) -> None:
    how: dict[str, Any] = {"token": TOKEN, "recipe": RECIPE, "seed": 3}
    plain = inversion.fit(pipe, latents(1, 5), caption=CAPTION, **how)
    same = inversion.fit(pipe, latents(1, 5), caption=CAPTION, prompts=own(*[CAPTION] * 5), **how)
    other = inversion.fit(pipe, latents(1, 5), caption=CAPTION, prompts=own(*[CAPTION] * 4, "mri, {}, b"), **how)
    assert same.losses == plain.losses and torch.equal(same.rows["text_encoder"], plain.rows["text_encoder"])
    assert not torch.equal(other.rows["text_encoder"], plain.rows["text_encoder"])


@pytest.mark.thorough
def test_each_image_is_told_its_own_caption(pipe: Any) -> None:
    """A step's error is that of each image under its own prompt alone; so in parts, and for losses of attacks."""
    prompts, images = own("mri {}", "mri {} b", "mri {}"), latents(2, 3)
    rows = {"text_encoder": torch.randn(1, pipelines.WIDTH, generator=torch.Generator().manual_seed(1))}
    how: dict[str, Any] = {"token": TOKEN, "caption": CAPTION, "rows": rows}
    alone = [
        eval_loss.losses_with(pipe, images, token=TOKEN, caption=text, rows=rows)[place]
        for place, text in enumerate(prompts.each(range(3)))
    ]
    torch.testing.assert_close(eval_loss.losses_with(pipe, images, prompts=prompts, **how), torch.stack(alone))
    draws = draw(pipe, images.shape[1:], count=2)
    table = measure_losses(pipe, images, draws, prompts=prompts, **how)
    single = [
        measure_losses(pipe, images, draws, token=TOKEN, caption=text, rows=rows)[place]
        for place, text in enumerate(prompts.each(range(3)))
    ]
    torch.testing.assert_close(table, torch.stack(single))
    parts = [
        inversion.fit(
            pipe, images, token=TOKEN, caption=CAPTION, recipe=replace(RECIPE, micro_batch_size=size), seed=1,
            prompts=prompts,
        ).losses
        for size in (1, 3)
    ]  # fmt: skip
    assert parts[0] == pytest.approx(parts[1], rel=1e-5)


@pytest.mark.thorough
def test_shadows_train_as_the_embedding_did(pipe: Any) -> None:
    images, prompts = latents(4, 5), own("mri {}", "mri {} b", "mri {}", "mri {} c", "mri {} b")
    jobs = [(images[:3], 1), (images[2:], 2)]
    sides = [prompts.subset(range(3)), prompts.subset(range(2, 5))]
    together = batched.fit_many(pipe, jobs, token=TOKEN, caption=CAPTION, recipe=RECIPE, prompts=sides)
    for (part, seed), side, found in zip(jobs, sides, together, strict=True):
        alone = inversion.fit(pipe, part, token=TOKEN, caption=CAPTION, recipe=RECIPE, seed=seed, prompts=side)
        torch.testing.assert_close(found.rows["text_encoder"], alone.rows["text_encoder"], rtol=1e-3, atol=2e-4)
    order = Order(
        base="", latents=images.numpy(), inside=np.array([[1, 1, 1, 0, 0]], bool), seeds=(1,),
        noise=latents(5, 2).numpy(), timesteps=np.array([100, 600]), caption=CAPTION, token=TOKEN, recipe=RECIPE,
        units=np.arange(5), prompts=prompts,
    )  # fmt: skip
    assert order.name != replace(order, prompts=None).name
    assert not np.array_equal(carry_out(order, pipe).losses, carry_out(replace(order, prompts=None), pipe).losses)


def private(pipe: Any, prompts: Prompts | None) -> PatientLoss:
    people = Patients(latents(6, 4), ((0,), (1,), (2, 3)))
    loss = PatientLoss(
        pipe, people, lay(pipe, "mri", 1, 8), token=TOKEN, caption=CAPTION, recipe=RECIPE, noise_draws=2,
        prompts=prompts,
    )  # fmt: skip
    source = random.Random(7)
    loss._seed = lambda: source.getrandbits(63)
    return loss


def gradients(loss: PatientLoss) -> torch.Tensor:
    with loss.active():
        return loss.gradients([0, 1, 2], torch.zeros(loss.size, dtype=torch.float64))


def test_a_private_gradient_depends_on_no_other_patient_s_caption(pipe: Any) -> None:
    texts = ["mri {}", "mri {} b", "mri {} c", "mri {}"]
    first = gradients(private(pipe, own(*texts)))
    others = gradients(private(pipe, own(texts[0], "{} and much more", "{}", "{}")))
    assert torch.equal(first[0], others[0]) and not torch.equal(first[1:], others[1:])
    torch.testing.assert_close(gradients(private(pipe, own(*[CAPTION] * 4))), gradients(private(pipe, None)))


def test_a_base_whose_prompts_lean_on_each_other_is_refused() -> None:
    base: Any = kandinsky.kandinsky3()
    with pytest.raises(UsageError, match="a patient's caption would change another's gradient"):
        private(base, own("mri {}"))


def test_no_caption_leaves_the_site(films: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    made = train(
        films, token=TOKEN, caption=CAPTION, base=base, device="cpu", steps=2, num_vectors=1, batch_size=2, seed=1,
        holdout=0.5, out=out,
    )  # fmt: skip
    assert made.embedding.training["captions"] == "per image" and made.embedding.training["caption"] == CAPTION
    assert b"zzq" not in out.read_bytes() and b"right side" not in out.read_bytes()
    known = runs.find(made.embedding.digest)
    assert known and {item.caption for item in (*known.members, *known.holdout)} >= {SECRET}
    for words in (["audit", str(out), "--device", "cpu"], ["card", "init", str(out)]):
        assert main(words) == 0
    written = [path for path in tmp_path.rglob("a*") if path.is_file()]
    assert len(written) >= 4 and not any(b"zzq" in path.read_bytes() for path in written)


def test_captions_that_name_somebody_are_refused_and_not_repeated(films: Path, capsys: Any) -> None:
    (films / "manifest.csv").write_text("path,patient_id,caption\n0.png,p0,Maria Janssen left\n1.png,p1,ok\n")
    with pytest.raises(PrivacyError, match="caption of row 2 looks like personal data") as caught:
        read_images(films)
    assert "Janssen" not in f"{caught.value}{caught.value.hint}"
    assert main(["inspect", str(films)]) == 6
    said = capsys.readouterr()
    assert "caption of row 2" in said.out and "Janssen" not in said.out + said.err


def test_a_header_says_no_more_than_that_there_were_captions() -> None:
    check_training({"captions": "per image"})
    with pytest.raises(BadHeaderError, match="says more"):
        check_training({"captions": "left side"})


@pytest.mark.parametrize("name", ["Caption", "captions"])
def test_a_misspelled_column_is_refused(films: Path, name: str) -> None:
    (films / "manifest.csv").write_text(f"path,patient_id,{name}\n0.png,p0,left\n1.png,p1,right\n")
    with pytest.raises(UsageError, match="did you mean caption"):
        read_images(films)


def test_a_caption_too_long_is_refused(films: Path) -> None:
    (films / "manifest.csv").write_text(f"path,patient_id,caption\n0.png,p0,{'a' * 301}\n1.png,p1,right\n")
    with pytest.raises(UsageError, match="longer than 300"):
        read_images(films)
