"""`train(epsilon=...)`: what is promised, what is refused, what is kept, and what a crash costs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.diffusion import families
from embhub.diffusion.bases.live_fingerprint import base_rows
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import candidates, private_training, selftest, settings
from embhub.diffusion.dp.base_trial import AT_THE_END
from embhub.diffusion.dp.checkpoints import PrivateCheckpointStore
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import SLACK, Mechanism, Vectors
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.settings import Protection, suggest_number
from embhub.diffusion.dp.votes import PatientVoters
from embhub.diffusion.dp.watch import Watch
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import inversion, latents
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.result import Task
from embhub.errors import ConfigError, EmbhubError, PrivacyError, UsageError
from embhub.images.images import ImageSet, read_images
from embhub.images.manifests.sample import Sample
from embhub.ledger import budget
from embhub.ledger.balance import balance
from embhub.ledger.books import open_books
from embhub.ledger.spending import Spending
from embhub.ledger.spent import spent_on
from embhub.options.training import PrivacySettings
from embhub.phantoms import write_dataset
from embhub.privacy import epsilon as epsilons
from embhub.privacy import loss_distribution, self_test
from embhub.privacy.claim import Build, PrivacyClaim
from embhub.privacy.composition import Composition
from embhub.progress import Progress
from embhub.site import builds, config
from embhub.site.memory import runs
from tests.support import pipelines
from tests.support.training import train

STEPS = 6


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=26, patients=23, normals=0, seed=0)
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A self-test of fewer canaries: its own tests run the whole."""
    monkeypatch.setattr(self_test, "CANARIES", 200)
    monkeypatch.setattr(self_test, "DIMENSION", 1024)
    monkeypatch.setattr(selftest, "ROUNDS", 20)
    monkeypatch.setattr(selftest, "OWN_ROUNDS", (20, 200))


def learn(images: Path | ImageSet, base: Path, **choices: Any) -> TrainResult:
    asked = {
        "epsilon": 4.0,
        "n_public": 20,
        "steps": STEPS,
        "batch_size": 5,
        "noise_draws": 2,
        "subspace_dim": 8,
        **choices,
    }
    if asked.get("mechanism") in ("dp-agg", "votes") and "batch_size" not in choices:
        asked.pop("batch_size")
    return train(images, token="<a>", caption="prostate mri, {}", base=base, device="cpu", **asked)


def ledger() -> list[Spending]:
    with open_books() as books:
        return list(books.account().runs.values())


@pytest.mark.parametrize("mechanism", ["dp-sgd", "dp-agg", "votes"])
def test_the_file_carries_the_claim(images: Path, base: Path, tmp_path: Path, mechanism: str) -> None:
    out = tmp_path / "x.safetensors"
    few = {"steps": 2, "num_candidates": 6, "noise_draws": 1} if mechanism == "votes" else {}
    result = learn(images, base, out=out, mechanism=mechanism, **few)
    claim = embedding.read(out).privacy
    assert isinstance(claim, PrivacyClaim)
    steps = {"dp-sgd": STEPS, "dp-agg": 1, "votes": 2}[mechanism]
    q = 0.25 if mechanism == "dp-sgd" else 1.0
    assert (claim.mechanism, claim.unit, claim.n_public, claim.steps, claim.sampling.q) == (
        mechanism, "patient", 20, steps, q,
    )  # fmt: skip
    computed = epsilons.compute(loss_distribution.Mechanism(q, claim.sigma, steps), delta=1e-5)
    assert (claim.accountant.name, claim.epsilon) == (computed.name, computed.epsilon) and 3.9 < claim.epsilon <= 4.0
    assert computed.name == ("pld" if mechanism == "dp-sgd" else "gaussian")
    assert claim.self_test.passed and claim.tuning_runs == 0
    assert claim.build == Build(**builds.installed()._asdict()), "what ran says what it was"
    assert result.embedding.data == out.read_bytes()
    (spent,) = ledger()
    assert spent.settled and spent.announced == steps and spent.released == (result.embedding.digest,)
    assert spent.sigma == claim.sigma and spent.q == q and spent.count == 23


def test_nothing_is_told_or_kept_that_could_undo_the_noise(images: Path, base: Path, home: Path) -> None:
    """No loss, no seed, no watching; neither the exact number nor a patient in the file."""
    seen: list[Progress] = []
    result = learn(images, base, holdout=0.2, n_public=10, on_progress=seen.append)
    assert (result.losses, result.points, result.heldout_before, result.heldout_after) == ((), (), None, None)
    assert not any("loss" in progress.note for progress in seen) and not any("draw" in note for note in result.notes)
    run = runs.find(result.embedding.digest)
    assert run is not None and "seed" not in json.dumps(run.settings)
    told = json.dumps(dict(result.embedding.metadata))
    assert not [s.patient_id for s in run.members if s.patient_id in told]
    assert f": {len(run.members)}," not in told and "seed" not in told
    assert not list((home / "state").rglob("*.private"))


@pytest.mark.thorough
def test_two_runs_are_never_alike(images: Path, base: Path) -> None:
    one, two = (learn(images, base).embedding.tensors["emb_params"] for _ in range(2))
    assert (one != two).any()


@pytest.mark.thorough
def test_the_next_training_counts_the_one_before(images: Path, base: Path, tmp_path: Path) -> None:
    learn(images, base)
    again = learn(images, base).embedding.privacy
    assert isinstance(again, PrivacyClaim) and again.composition is not None
    assert again.composition.epsilon is not None and again.epsilon is not None
    assert again.composition.trainings == 2 and again.composition.epsilon > again.epsilon
    plain = train(images, token="<a>", caption="mri, {}", base=base, device="cpu", steps=1, num_vectors=1, batch_size=1)
    assert plain.embedding.privacy == "none"
    after = learn(images, base).embedding.privacy
    assert isinstance(after, PrivacyClaim) and isinstance(after.composition, Composition)
    assert (after.composition.trainings, after.composition.plain) == (3, 1)
    (cohort,) = balance(delta=1e-5)["cohorts"]
    assert cohort["epsilon"] is None


@pytest.mark.thorough
def test_a_folder_that_named_nobody_counts_once_the_patients_are_known(
    images: Path, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "unnamed"
    folder.mkdir()
    path = sorted(images.rglob("*.png"))[0]
    for number, image in enumerate([path, *sorted(images.rglob("*.png"))[5:8]]):
        (folder / f"{number:03d}.png").write_bytes(image.read_bytes())
    choices = {"token": "<a>", "caption": "mri, {}", "base": base, "device": "cpu", "steps": 1, "batch_size": 1}
    train(folder, num_vectors=1, **choices)
    result = learn(images, base)
    spent = spent_on(result.embedding.digest, delta=1e-5)
    assert spent is not None and spent.epsilon is None and spent.trainings == 2


@pytest.mark.thorough
def test_ids_that_look_like_earlier_ones_are_pointed_out(images: Path, base: Path, tmp_path: Path) -> None:
    learn(images, base)
    copied = Path(shutil.copytree(images, tmp_path / "copied"))
    manifest = next(copied.rglob("manifest.csv"))
    header, *rows = manifest.read_text().splitlines()
    place = header.split(",").index("patient_id")
    changed = []
    for row in rows:
        cells = row.split(",")
        cells[place] = cells[place].swapcase()
        changed.append(",".join(cells))
    manifest.write_text("\n".join([header, *changed]) + "\n")
    notes = learn(copied, base).notes
    assert any("23 patients have ids that differ only in case, leading zeros or issuer" in note for note in notes)


def test_the_total_is_told_before_the_ledger_is_charged_and_asked_about_where_it_is_weak(
    images: Path, base: Path
) -> None:
    """One figure: what is foreseen, what the claim states, and what the ledger counts afterwards."""
    said: list[str] = []
    asked: list[str] = []

    def hear(note: str) -> None:
        if note.startswith("the total after"):
            said.append(f"{len(ledger())} {note}")

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    for number in (1, 2):
        made = learn(images, base, mechanism="dp-agg", steps=1, on_note=hear, epsilon=2.0, confirm=refuse)
        claim = made.embedding.privacy
        assert isinstance(claim, PrivacyClaim) and isinstance(claim.composition, Composition)
        told = f"{number - 1} the total after this training is epsilon {claim.composition.epsilon:g} "
        assert said[-1].startswith(told)
        assert balance(delta=1e-5)["cohorts"][0]["epsilon"] == claim.composition.epsilon
        assert number > 1 or claim.composition.epsilon == claim.epsilon
    assert not asked
    with pytest.raises(PrivacyError, match="hardly any attack"):
        learn(images, base, epsilon=4.0, confirm=refuse)
    assert len(asked) == 1 and len(ledger()) == 2
    unasked = learn(images, base, mechanism="dp-agg", steps=1)
    assert any("hardly any attack" in note for note in unasked.notes)


def test_a_cap_refuses_before_the_first_step(images: Path, base: Path) -> None:
    budget.set_cap(3.0)
    for choices in ({}, {"epsilon": None, "n_public": None, "noise_draws": None, "subspace_dim": None}):
        with pytest.raises(PrivacyError, match="cap"):
            learn(images, base, **choices)
    assert not [item for item in ledger() if item.charged]


WRONG: list[tuple[dict[str, Any], type[EmbhubError], str]] = [
    ({"n_public": None}, UsageError, r"public number.*\n.*--n-public 15"),
    ({"n_public": 25}, PrivacyError, "fewer are there"),
    ({"n_public": 23}, PrivacyError, "no round number"),
    ({"n_public": 5}, PrivacyError, "no round number"),
    ({"delta": 0.01}, PrivacyError, "delta 0.01 is too large"),
    ({"delta": 2e-5}, PrivacyError, "a chance of more than 1 in 100,000"),
    ({"epsilon": 1e-7}, PrivacyError, "cannot be reached"),
    ({"batch_size": 21}, UsageError, "21 patients a step"),
    ({"unit": "image"}, PrivacyError, "names patients"),
    ({"seed": 1}, UsageError, "no seed"),
    ({"norm": "directional"}, UsageError, "not for private"),
    ({"holdout": 0.9}, PrivacyError, "too few patients"),
    ({"epsilon": None}, UsageError, "without an epsilon"),
    ({"epsilon": -1.0}, UsageError, "out of its range"),
    ({"epsilon": float("nan")}, UsageError, "out of its range"),
    ({"max_grad_norm": float("inf")}, UsageError, "out of its range"),
    ({"num_vectors": 64}, UsageError, "use at most"),
]


@pytest.mark.parametrize(("choices", "error", "message"), WRONG, ids=lambda item: str(item)[:30])
def test_refusals_come_before_any_budget_is_spent(
    images: Path, base: Path, tmp_path: Path, choices: dict[str, Any], error: type[EmbhubError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        learn(images, base, out=tmp_path / "x.safetensors", **choices)
    assert caught.value.hint and not list(tmp_path.glob("*.safetensors"))
    assert not [item for item in ledger() if item.charged]


@pytest.mark.thorough
def test_patients_that_nobody_names_are_not_promised_anything(images: Path, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unnamed"
    folder.mkdir()
    for number, path in enumerate(sorted(images.rglob("*.png"))):
        (folder / f"{number:03d}.png").write_bytes(path.read_bytes())
    with pytest.raises(PrivacyError, match="without patient ids") as caught:
        learn(folder, base)
    assert caught.value.exit_code == 6
    claim = learn(folder, base, unit="image").embedding.privacy
    assert isinstance(claim, PrivacyClaim) and (claim.unit, claim.max_images_per_unit) == ("image", 1)
    renamed = folder.rename(tmp_path / "renamed")
    again = learn(renamed, base, unit="image").embedding.privacy
    assert isinstance(again, PrivacyClaim) and again.composition and again.composition.trainings == 2


def test_patients_are_not_charged_as_images_where_the_only_nameless_image_is_kept_back(tmp_path: Path) -> None:
    """The ledger would get keys of patients among those of images: no cap, and no patient's total, would find them."""
    write_dataset(tmp_path, "prostate-cspca", images=26, patients=23, normals=0, seed=0)
    images = read_images(tmp_path)
    first, *others = images.samples
    samples = (replace(first, patient_id=None, split="holdout"), *(replace(one, split="train") for one in others))
    asked = private_training.PrivateTraining(None, Protection(epsilon=8.0, n_public=20, unit="image"), resume=False)
    with pytest.raises(PrivacyError, match="the manifest names patients"):
        asked.split(replace(images, samples=samples), 0.0)


class Loud(Mechanism):
    """A tenth of the noise."""

    def release(self, total: Vectors) -> Vectors:
        return Mechanism(self.sample_rate, self.max_grad_norm, self.noise_multiplier / 10, self.denominator).release(
            total
        )


def test_broken_code_gets_no_claim_and_writes_nothing(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "Noise", Loud)
    out = tmp_path / "x.safetensors"
    out.write_text("mine")
    with pytest.raises(PrivacyError, match="self-test") as caught:
        learn(images, base, out=out, overwrite=True)
    assert caught.value.exit_code == 6 and out.read_text() == "mine"
    (spent,) = ledger()
    assert spent.announced == STEPS and not spent.released


def stop_at(step: int) -> Any:
    def on_progress(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == step:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.thorough
def test_an_interrupted_training_goes_on_and_ends_within_its_budget(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.safetensors"
    with pytest.raises(TrainingInterruptedError):
        learn(images, base, out=out, on_progress=stop_at(4))
    (spent,) = ledger()
    assert spent.settled and spent.announced == 4 and not out.exists()
    with pytest.raises(UsageError, match="other settings: noise_draws"):
        learn(images, base, out=out, resume=True, noise_draws=3)
    with monkeypatch.context() as patch, pytest.raises(UsageError, match="other settings: build of embhub"):
        patch.setattr(builds, "installed", lambda: builds.Installed("0.1.0", "wheel", "ab" * 32))
        learn(images, base, out=out, resume=True)
    seen: list[Progress] = []
    claim = learn(images, base, out=out, resume=True, on_progress=seen.append).embedding.privacy
    assert isinstance(claim, PrivacyClaim) and claim.steps == STEPS and claim.epsilon <= 4.0
    assert claim.composition and claim.composition.trainings == 1
    assert [p.done for p in seen if p.stage == "training"] == [5, 6]
    with pytest.raises(UsageError, match="exists"):
        learn(images, base, out=out, resume=True)


KILLED = """
import sys
from embhub.diffusion.train import train
from tests.support.training import train
from embhub.progress import Progress
import os, signal
def die(progress):
    if progress.stage == "training" and progress.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(sys.argv[1], token="<a>", caption="prostate mri, {}", base=sys.argv[2], device="cpu", out=sys.argv[3],
      epsilon=4.0, n_public=20, steps=6, batch_size=5, noise_draws=2, subspace_dim=8, on_progress=die)
"""


@pytest.mark.thorough
def test_a_killed_training_pays_for_what_it_announced(images: Path, base: Path, tmp_path: Path, home: Path) -> None:
    out = tmp_path / "x.safetensors"
    done = subprocess.run([sys.executable, "-c", KILLED, str(images), str(base), str(out)], check=False)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    (before,) = ledger()
    assert not before.settled and before.charged == STEPS, "all of it counts until it is settled"
    claim = learn(images, base, out=out, resume=True).embedding.privacy
    assert isinstance(claim, PrivacyClaim) and claim.steps == STEPS == ledger()[0].announced


def test_steps_that_a_crash_lost_are_not_taken_again(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Announced, then lost before it was kept: it counts, so one step fewer is left."""
    monkeypatch.setattr(private_training, "_ANNOUNCEMENTS", 3)  # two steps an announcement
    out = tmp_path / "x.safetensors"
    with pytest.raises(TrainingInterruptedError) as caught:
        learn(images, base, out=out, on_progress=stop_at(3))
    assert caught.value.step == 3 and ledger()[0].announced == 4
    seen: list[Progress] = []
    learn(images, base, out=out, resume=True, on_progress=seen.append)
    assert [p.done for p in seen if p.stage == "training"] == [5, 6] and ledger()[0].announced == STEPS


def test_an_interrupted_aggregation_has_told_nothing_and_costs_nothing(images: Path, base: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        learn(images, base, mechanism="dp-agg", on_progress=stop_at(4))
    (spent,) = ledger()
    assert spent.settled and spent.charged == 0


@pytest.mark.parametrize("mechanism", ["dp-sgd", "dp-agg", "votes"])
def test_an_image_whose_loss_is_no_number_leaves_no_trace(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    """Nothing ends at the step at which this patient came, so neither this claim nor the next one tells of it."""
    encode, done = inversion.encode_images, list[int]()

    def overflow(pipe: Any, batch: torch.Tensor, **how: Any) -> torch.Tensor:
        found = encode(pipe, batch, **how)
        if not done:
            found[0] = float("nan")
        done.append(len(batch))
        return found

    choices: dict[str, Any] = {"mechanism": mechanism, "steps": 3, "noise_draws": 1}
    if mechanism == "votes":
        choices["num_candidates"] = 6
    if mechanism == "dp-sgd":
        choices["batch_size"] = 20  # everybody is in each step
    monkeypatch.setattr(inversion, "encode_images", overflow)
    seen: list[Progress] = []
    first = learn(images, base, out=tmp_path / "x.safetensors", **choices, on_progress=seen.append)
    monkeypatch.setattr(inversion, "encode_images", encode)
    following = learn(images, base, **choices).embedding.privacy
    claim = first.embedding.privacy
    assert isinstance(claim, PrivacyClaim) and isinstance(following, PrivacyClaim)
    assert (claim.tuning_runs, following.tuning_runs) == (0, 0) and following.composition is not None
    assert following.composition.trainings == 2 and claim.steps == following.steps
    assert np.isfinite(first.embedding.tensors["emb_params"].astype(float)).all()
    told = json.dumps([first.notes, [each.note for each in seen]])
    assert "number" not in told and "nan" not in told.lower()


@pytest.mark.parametrize("part", ["denoiser", "autoencoder"])
@pytest.mark.parametrize(
    "mechanism", ["dp-sgd", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("dp-agg", "votes"))]
)
def test_a_base_whose_loss_is_no_number_is_refused_before_the_ledger_hears_of_it(
    images: Path, tmp_path: Path, home: Path, part: str, mechanism: str
) -> None:
    """With such an autoencoder every latent is none, so every patient would contribute zero to a file of noise."""
    base = pipelines.write(tmp_path / "broken")
    kind: Any = UNet2DConditionModel if part == "denoiser" else AutoencoderKL
    folder = base / ("unet" if part == "denoiser" else "vae")
    broken = kind.from_pretrained(folder)
    with torch.no_grad():
        (broken if part == "denoiser" else broken.encoder).conv_in.bias[0] = float("nan")
    broken.save_pretrained(folder)
    choices = {"num_candidates": 6} if mechanism == "votes" else {}
    with pytest.raises(UsageError, match=r"made-up image (is not a number|are not numbers)"):
        learn(images, base, out=tmp_path / "x.safetensors", mechanism=mechanism, **choices)
    assert not (tmp_path / "x.safetensors").exists() and ledger() == [] and home


@pytest.mark.parametrize("mechanism", ["dp-sgd", pytest.param("votes", marks=pytest.mark.thorough)])
def test_a_file_whose_loss_is_no_number_any_more_says_so(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mechanism: str
) -> None:
    """What was learned is asked, on a made-up image: the noised coordinates decide, and no patient's image."""
    losses, asked = PatientLoss.losses, list[bool]()

    def spoilt(self: PatientLoss, leaf: torch.Tensor, *rest: torch.Tensor, places: Sequence[int] = ()) -> torch.Tensor:
        moved = leaf.detach().norm(dim=1) > 0
        asked.append(not len(places) and bool(moved.any()))
        return losses(self, leaf, *rest, places=places) + torch.where(moved & (not places), torch.nan, 0.0)

    monkeypatch.setattr(PatientLoss, "losses", spoilt)
    choices = {"num_candidates": 6, "noise_draws": 1} if mechanism == "votes" else {}
    if mechanism == "votes":  # someone wins, so that the centre leaves the start
        monkeypatch.setattr(PatientVoters, "losses", lambda _self, _place, points, _number: -np.arange(len(points)))
    result = learn(images, base, out=tmp_path / "x.safetensors", mechanism=mechanism, epsilon=50.0, **choices)
    assert asked[-1] and not any(asked[:-1]), "the last of all losses is the made-up image's, at what was learned"
    assert AT_THE_END in result.notes and isinstance(result.embedding.privacy, PrivacyClaim)
    assert result.path is not None and result.path.exists() and ledger()[0].settled


def test_an_embedding_of_its_own_whose_loss_is_lost_is_refused_before_the_ledger_hears_of_it(
    images: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In dp-agg every patient's embedding moves far before anything is released."""
    losses = PatientLoss.losses

    def spoilt(self: PatientLoss, leaf: torch.Tensor, *rest: torch.Tensor, **more: Any) -> torch.Tensor:
        return losses(self, leaf, *rest, **more) + torch.where(leaf.detach().norm(dim=1) > 0, torch.nan, 0.0)

    monkeypatch.setattr(PatientLoss, "losses", spoilt)
    with pytest.raises(UsageError, match=f"not a number within {STEPS} steps"):
        learn(images, base, mechanism="dp-agg")
    assert ledger() == []


def test_a_full_disk_stops_with_the_budget_counted(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ConfigError("cannot write: no space left", "free space")

    monkeypatch.setattr(PrivateCheckpointStore, "keep", full)
    with pytest.raises(ConfigError, match="no space"):
        learn(images, base, out=tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists() and ledger()[0].charged >= 1


@pytest.mark.thorough
def test_a_damaged_checkpoint_is_refused(images: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    with pytest.raises(TrainingInterruptedError):
        learn(images, base, out=out, on_progress=stop_at(2))
    (path,) = (config.paths().state / "trainings").glob("*.private")
    data = path.read_bytes()
    edited = data.replace(b'"taken": 2', b'"taken": 1')
    for damaged in (data[:-9], edited):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError):
            learn(images, base, out=out, resume=True)
    path.write_bytes(data)
    path.chmod(0o644)
    with pytest.raises(ConfigError):
        learn(images, base, out=out, resume=True)
    path.chmod(0o600)
    path.replace(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError):
        learn(images, base, out=out, resume=True)
    path.unlink()
    path.write_bytes(data)
    path.chmod(0o600)
    assert edited != data and learn(images, base, out=out, resume=True).path == out, "undamaged it goes on"


def numbered(count: int) -> ImageSet:
    return ImageSet(tuple(Sample(Path(f"{i}.png"), f"P{i}", row=i) for i in range(count)), ((64, 64),) * count)


def test_who_is_kept_back_does_not_depend_on_who_else_is_there() -> None:
    whole, fewer = numbered(200), numbered(150)
    (front, back), (_, some) = settings.split(whole, 0.3), settings.split(fewer, 0.3)
    assert {s.patient_id for s in some.samples} == {s.patient_id for s in back.samples if s.row < 150}
    assert 30 < len(back) < 90 and len(front) + len(back) == 200


@pytest.mark.parametrize(
    ("patients", "suggested"), [(10, 10), (13, 10), (23, 15), (80, 60), (99, 75), (137, 100), (1999, 1500)]
)
def test_a_round_number_well_below_the_exact_one_is_suggested(patients: int, suggested: int) -> None:
    assert suggest_number(patients) == suggested


def test_of_the_next_patient_the_suggested_number_tells_nothing() -> None:
    told = [sum(suggest_number(n) == suggest_number(around) for n in range(10, 400)) for around in range(15, 320)]
    assert min(told) >= 5


def test_the_defaults_fit_together() -> None:
    for mechanism in ("dp-sgd", "dp-agg"):
        asked = settings.resolve(PrivacySettings(8.0, mechanism=mechanism, n_public=50))
        assert isinstance(asked, Protection) and settings.check_number(asked, 57) == 50


@pytest.mark.thorough
def test_the_command(images: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.safetensors"
    words = ["train", str(images), "--base", str(base), "--token", "<a>", "--caption", "mri, {}", "--out", str(out)]
    few = ["--steps", "2", "--batch-size", "5", "--device", "cpu"]
    assert main([*words, *few, "--epsilon", "4"]) == 2
    assert "--n-public 15" in capsys.readouterr().err and not out.exists()
    assert main([*words, *few, "--epsilon", "4", "--n-public", "20"]) == 0
    told = capsys.readouterr()
    assert "epsilon = " in told.out and "private for each patient: epsilon at most 4" in told.err
    assert main([*words, *few, "--overwrite"]) == 0
    assert "trained without differential privacy" in capsys.readouterr().out


def test_reading_images_is_all_that_the_ids_need(images: Path) -> None:
    assert set(read_images(images).names()) == {s.patient_id for s in read_images(images).samples}


def vote(images: Path | ImageSet, base: Path, **choices: Any) -> TrainResult:
    return learn(images, base, mechanism="votes", **{"steps": 2, "num_candidates": 6, "noise_draws": 1, **choices})


def test_votes_reach_the_file_through_noisy_counts_alone(
    images: Path, base: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other patients, other votes, and more of them: where the noisy counts are the same, so is all that is told."""
    other = tmp_path / "other"
    write_dataset(other, "prostate-cspca", images=40, patients=31, normals=0, seed=7)
    private: list[Vectors] = []

    def release(self: Mechanism, total: Vectors) -> Vectors:
        if total.size != 6 or total.sum() == 0 or len(private) % 5 > 1:  # the self-test, after both rounds
            return whole(self, total)
        private.append(total)
        return np.array([0.0, 0.9, 0.1, 0.4, 0.0, 0.2])

    whole = Mechanism.release
    monkeypatch.setattr(Mechanism, "release", release)
    monkeypatch.setattr(Watch, "check", lambda *_: None)  # it would find that this is no noise
    made = []
    for folder in (images, other):
        seen: list[Progress] = []
        result = vote(folder, base, on_progress=seen.append)
        private.extend([np.zeros(0)] * 3)
        claim = result.embedding.privacy
        assert isinstance(claim, PrivacyClaim)
        stated = claim.model_dump(exclude={"self_test", "composition", "tuning_runs"})
        votes = [(each.done, each.total, each.note) for each in seen if each.stage == "training"]
        assert (result.losses, result.points, result.heldout_before, result.heldout_after) == ((), (), None, None)
        made.append((result.embedding.tensors["emb_params"].tobytes(), result.embedding.training, stated, votes))
        run = runs.find(result.embedding.digest)
        assert run is not None and set(run.settings) == {"holdout", "recipe", "preprocessing", "protection"}
    assert [len(counts) for counts in private] == [6, 6, 0, 0, 0] * 2
    assert not np.array_equal(private[0], private[5]), "the votes differ"
    assert made[0] == made[1] and not list((home / "state").rglob("*.private"))


def test_the_header_says_how_votes_were_taken(images: Path, base: Path) -> None:
    facts = vote(images, base).embedding.training
    assert (
        facts["optimizer"]
        == "Private Evolution: 6 candidates a round, 1 draws, random points along 8 public directions"
    )
    assert (facts["steps"], facts["batch_size"], facts["learning_rate"]) == (2, 20, 0)


def test_votes_have_as_many_rounds_as_the_declared_patients_can_bear() -> None:
    rounds = [
        settings.choose_rounds(Protection(epsilon, mechanism="votes"), n_public)
        for epsilon, n_public in ((0.5, 10), (1, 20), (1, 50), (8, 20), (8, 200))
    ]
    assert rounds[0] == rounds[1] == 1 and rounds[2] == 2 and rounds[3:] == [4, 4]


@pytest.mark.parametrize(("epsilon", "patients", "warned"), [(1, 10, True), (0.5, 20, True), (2, 50, False)])
def test_it_is_said_when_a_quarter_of_the_patients_would_not_stand_out_of_the_noise(
    epsilon: float, patients: int, warned: bool
) -> None:
    asked = Protection(epsilon, mechanism="votes", max_grad_norm=1.0)
    recipe = replace(settings._VOTES, batch_size=patients, steps=settings.choose_rounds(asked, patients))
    mechanism, steps = settings.calibrate(asked, recipe, patients)
    assert ("expect little" in settings.forecast(asked, mechanism, steps, 128)) == warned


VOTES_WRONG: list[tuple[dict[str, Any], type[EmbhubError], str]] = [
    ({"max_grad_norm": 2.0}, UsageError, "nothing is clipped"),
    ({"batch_size": 10}, UsageError, "all take part in every round"),
    ({"mechanism": "dp-sgd", "num_candidates": 8}, UsageError, "candidates are for"),
    ({"num_candidates": 256, "num_vectors": 1}, UsageError, "numbers"),
    ({"epsilon": 1e-7}, PrivacyError, "cannot be reached"),
]


@pytest.mark.parametrize(("choices", "error", "message"), VOTES_WRONG, ids=lambda item: str(item)[:30])
def test_votes_refuse_before_any_budget_is_spent(
    images: Path, base: Path, choices: dict[str, Any], error: type[EmbhubError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        learn(images, base, **{"mechanism": "votes", "steps": 2, **choices})
    assert caught.value.hint and not [item for item in ledger() if item.charged]


def test_an_interrupted_vote_pays_for_the_rounds_that_were_counted(images: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        vote(images, base, steps=3, on_progress=stop_at(2))
    (spent,) = ledger()
    assert spent.settled and spent.announced == spent.charged == 2


def test_broken_votes_get_no_claim(images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "Noise", Loud)
    out = tmp_path / "x.safetensors"
    with pytest.raises(PrivacyError, match="self-test"):
        vote(images, base, out=out)
    assert not out.exists() and ledger()[0].announced == 2


@pytest.mark.parametrize("images_of_one", [1, 5])
def test_a_patient_has_one_vote_however_many_images_there_are(base: Path, images_of_one: int) -> None:
    pipe = load_pipeline(find_base(base), device="cpu")
    names = ["one"] * images_of_one + ["other"]
    latents = torch.randn(len(names), 4, 8, 8)
    asked = settings.resolve(PrivacySettings(4.0, mechanism="votes", num_candidates=6, noise_draws=1, n_public=10))
    task = Task(pipe, "", "<a>", "prostate mri, {}", settings.default_recipe(pipe, asked, 10))
    loss = private_training.prepare_rows(task, asked, latents, names)
    silent = Mechanism(sample_rate=1.0, max_grad_norm=1.0, noise_multiplier=0.0, denominator=10)
    evolution = private_training._prepare_votes(task, asked, loss, silent)
    with loss.active():
        counts = evolution.tally()
        alone = Patients(loss.patients.latents, loss.patients.images[1:])
        loss.patients = alone
        assert np.linalg.norm(counts - evolution.tally()) <= 1.0
    assert counts.sum() == pytest.approx(2 * (1 - SLACK))


def test_first_candidates_lie_along_principal_components() -> None:
    pipe = pipelines.build()
    asked = settings.resolve(
        PrivacySettings(4.0, mechanism="votes", num_candidates=8, noise_draws=1, n_public=10, subspace_dim=3)
    )
    task = Task(pipe, "", "<a>", "mri, {}", settings.default_recipe(pipe, asked, 10))
    loss = private_training.prepare_rows(task, asked, torch.randn(1, 4, 8, 8), ["one"])
    points = candidates.first_candidates(pipe, loss.frame, 8, asked.subspace_dim).points
    drawn = loss.frame.rows(points[-4:].float())  # behind the start and words
    (encoder,) = families.encoders(pipe)
    table = encoder.table.detach()[: base_rows(encoder)]
    _, _, axes = torch.linalg.svd(table - table.mean(0), full_matrices=False)
    moved = (drawn[encoder.name] - loss.frame.start[encoder.name]).flatten(0, 1)
    assert moved.norm(dim=1).min() > 0 and torch.allclose(moved @ axes[:3].T @ axes[:3], moved, atol=1e-4)


@pytest.mark.parametrize(
    ("epsilon", "declared", "learned"),
    [(4.0, 100, (1, 50)), (4.0, 220, (4, 100)), (8.0, 100, (1, 50)), (8.0, 130, (4, 100)), (1.0, 500, (1, 50))],
)
def test_with_little_noise_more_is_learned_for_longer(
    monkeypatch: pytest.MonkeyPatch, epsilon: float, declared: int, learned: tuple[int, int]
) -> None:
    pipe = pipelines.build()
    monkeypatch.setattr(settings, "resolution", lambda _: 128)
    recipe = settings.default_recipe(pipe, settings.resolve(PrivacySettings(epsilon)), declared)
    assert (recipe.num_vectors, recipe.steps) == learned
    monkeypatch.setattr(settings, "resolution", lambda _: 512)
    recipe = settings.default_recipe(pipe, settings.resolve(PrivacySettings(epsilon)), declared)
    assert (recipe.num_vectors, recipe.steps) == (1, 50)
    monkeypatch.setattr(settings, "resolution", lambda _: 128)
    few = settings.resolve(PrivacySettings(epsilon, subspace_dim=32))  # which leaves room, and is not asked for more
    assert settings.default_recipe(pipe, few, declared).num_vectors == learned[0]
    assert settings.default_recipe(pipe, settings.resolve(PrivacySettings(1e-6)), 10).num_vectors == 1
    others = settings.resolve(PrivacySettings(epsilon, mechanism="dp-agg"))
    assert settings.default_recipe(pipe, others, declared).num_vectors == 1


@pytest.fixture
def coupled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An autoencoder whose latents depend a little on what else is in the batch; the sizes of batches."""
    sizes: list[int] = []

    def detect(pipe: Any) -> Any:
        def encode(pipe: Any, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return families.detect(pipe).latents(pipe, images) + 0.01 * images.mean() * len(images.unique(dim=0))

        return replace(families.detect(pipe), latents=encode)

    monkeypatch.setattr(inversion, "detect", detect)
    return sizes


def test_no_vote_depends_on_who_else_is_there(coupled: list[int], images: Path) -> None:
    """Bit by bit, where rounding in a batch of images couples patients."""
    pipe, found = pipelines.build(), read_images(images)
    asked = settings.resolve(PrivacySettings(4.0, mechanism="votes", num_candidates=6, noise_draws=1, n_public=10))
    task = Task(pipe, "", "<a>", "mri, {}", settings.default_recipe(pipe, asked, 10))
    units = list(dict.fromkeys(found.names()))[:5]

    def measure(without: str) -> dict[str, bytes]:
        there = found.subset([place for place, name in enumerate(found.names()) if name in units and name != without])
        loss = private_training.prepare_rows(
            task, asked, latents.encode(pipe, there, alone=True).latents, there.names()
        )
        points = candidates.first_candidates(pipe, loss.frame, 6, asked.subspace_dim).points
        with loss.active():
            voters = PatientVoters(loss)
            names = list(dict.fromkeys(there.names()))
            return {name: voters.losses(place, points, 1).tobytes() for place, name in enumerate(names)}

    everybody = measure("")
    for unit in units:
        rest = measure(unit)
        assert rest == {name: losses for name, losses in everybody.items() if name != unit} and len(rest) == 4
    assert set(coupled) == {1}


@pytest.mark.parametrize(("mechanism", "alone"), [("votes", True), ("dp-agg", False)])
def test_images_that_vote_are_encoded_one_at_a_time(
    coupled: list[int], images: Path, base: Path, mechanism: str, alone: bool
) -> None:
    few = {"num_candidates": 6, "noise_draws": 1} if mechanism == "votes" else {}
    learn(images, base, mechanism=mechanism, steps=1, **few)
    assert (set(coupled) == {1}) == alone
