"""`audit` on tiny bases: what it reports, what it refuses, what it keeps to itself."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import fingerprint
from embhub.audits.report import SUITES, AuditReport, Bounds
from embhub.diffusion.attacks import auditing, nearest, planning, reidentification
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.in_turn import REFERENCES
from embhub.diffusion.train import TrainResult
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.images.images import read_images
from embhub.images.member_split import choose_sides, compare
from embhub.images.pixels import digest, read_pixels
from embhub.ledger import audit_attempts, budget
from embhub.options.audit import AuditOptions
from embhub.phantoms import write_dataset
from embhub.progress import Progress
from embhub.site import config
from embhub.site.memory import runs
from embhub.site.memory import secret as site_secret
from embhub.site.signing import keys
from embhub.trust import audit_designs
from embhub.trust.audit_designs import Registration
from tests.support import pipelines
from tests.support.training import train

FINDING = "prostate-cspca"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, FINDING, images=30, patients=20, seed=0)
    return folder


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(autouse=True)
def home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(shared_home))
    return shared_home


@pytest.fixture(scope="module")
def trained(images: Path, base: Path, shared_home: Path) -> TrainResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(shared_home))
        return learn(images, base, holdout=0.4)


def learn(images: Path, base: Path, **choices: Any) -> TrainResult:
    wanted = {
        "token": "<cspca>",
        "caption": "prostate mri, {}",
        "steps": 3,
        "num_vectors": 2,
        "batch_size": 2,
        "seed": 1,
    }
    return train(images, base=base, device="cpu", **{**wanted, **choices})


@pytest.fixture(scope="module")
def quick(trained: TrainResult, shared_home: Path) -> AuditReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(shared_home))
        return audit(trained, device="cpu")


def test_members_and_base_come_from_the_record(quick: AuditReport, trained: TrainResult, base: Path) -> None:
    assert quick.artifact.sha256 == trained.embedding.digest
    assert quick.base.digest == fingerprint.digest(fingerprint.take(base))
    assert (quick.unit, quick.members.units, quick.nonmembers.units) == ("patient", 10, 5)
    assert (quick.members.images or 0) % 5 == (quick.nonmembers.images or 0) % 5 == 0
    assert set(quick.tried) == {"loss-difference", "loss", "blind"}
    assert not any(result.on_coins for result in quick.attacks)
    assert quick.headline == "loss-difference"
    assert quick.design.split == "by patient, held out before training"
    assert quick.check() == []
    assert AuditReport.parse(quick.to_bytes()) == quick


def test_nothing_private_is_in_the_report(quick: AuditReport, trained: TrainResult) -> None:
    text = quick.to_bytes().decode()
    for sample in (*trained.run.members, *trained.run.holdout):
        path = Path(sample.path)
        for secret in (sample.patient_id, path.name, str(path.parent), digest(read_pixels(path, "image")).hex()):
            assert secret not in text
    assert "seed" not in text


@pytest.mark.thorough
def test_a_replayed_audit_is_the_same_bytes_and_a_second_one_is_not(quick: AuditReport, trained: TrainResult) -> None:
    assert quick.attempt is not None
    assert audit(trained.embedding, replay=quick.attempt.number, device="cpu").to_bytes() == quick.to_bytes()
    other = audit(trained.embedding, device="cpu")
    assert other.commitment != quick.commitment
    assert other.attempt is not None and other.attempt.number == other.attempt.count > quick.attempt.number
    assert [attempt.verdict for attempt in audit_attempts.audits_of(quick.artifact.sha256)][-1] == other.verdict


@pytest.mark.thorough
def test_a_planned_audit_is_the_one_that_runs(
    trained: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "planned.safetensors"
    file.write_bytes(trained.embedding.data)
    monkeypatch.setenv("EMBHUB_REGISTRY", "https://hub.example.org")
    keys.generate("default")
    carried = tmp_path / "carried.json"
    assert main(["audit", str(file), "--design-out", str(carried)]) == 0, capsys.readouterr().err
    registered = audit_designs.parse_file(carried.read_bytes())
    assert isinstance(registered, Registration)
    design = audit_designs.read_design(registered.design.statement)
    begun = audit_attempts.audits_of(trained.embedding.digest)[-1]
    assert begun.number == design.number and begun.verdict is None, "it is in the ledger and has not run"
    assert planning.plan(file, AuditOptions()).commitment == design.commitment
    assert main(["audit", str(file), "--device", "cpu"]) == 0, capsys.readouterr().err
    report = AuditReport.parse(file.with_name("planned.audit.json").read_bytes())
    assert report.commitment == design.commitment
    result = audit_designs.parse_file(file.with_name("planned.audit-result.json").read_bytes())
    assert not isinstance(result, Registration)
    ended = audit_designs.read_result(result.statement)
    assert ended.design.sha256 == registered.design.envelope.identity and ended.verdict == report.verdict
    assert ended.report.sha256 == hashlib.sha256(report.to_bytes()).hexdigest()
    for sample in (*trained.run.members, *trained.run.holdout):
        assert sample.patient_id.encode() not in carried.read_bytes()
    for words in (["--suite", "mechanism"], ["--replay", "1"]):
        assert main(["audit", str(file), "--design-out", str(carried), *words]) == 2
    budget.set_cap(4.0)
    assert main(["audit", str(file), "--design-out", str(carried)]) == 6, "a verdict would leave"
    budget.set_cap(None)


def test_only_an_audit_that_was_made_is_replayed(quick: AuditReport, trained: TrainResult) -> None:
    with pytest.raises(UsageError, match="made no audit 999"):
        audit(trained.embedding, replay=999, device="cpu")
    with pytest.raises(UsageError, match="was another one"):
        audit(trained.embedding, replay=1, bounds=Bounds(auc=0.55), device="cpu")


@pytest.mark.thorough
def test_an_audit_that_dies_stands_in_the_ledger(trained: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was begun on purpose before anything was measured, and goes on under its own number."""
    before = len(audit_attempts.audits_of(trained.embedding.digest))
    with monkeypatch.context() as patch:
        patch.setattr(auditing, "encode_images", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            audit(trained.embedding, bounds=Bounds(auc=0.57), device="cpu")
    assert len(audit_attempts.audits_of(trained.embedding.digest)) == before + 1
    report = audit(trained.embedding, bounds=Bounds(auc=0.57), device="cpu")
    assert report.attempt is not None and report.attempt.number == before + 1


def test_coins_follow_from_the_key_of_the_site(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = {"embedding": "ab", "seed": 0}
    here = site_secret.derive_seed(facts)
    assert here == site_secret.derive_seed(facts) != site_secret.derive_seed({**facts, "seed": 1})
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "another site"))
    assert site_secret.derive_seed(facts) != here


def test_the_commitment_is_keyed(quick: AuditReport, trained: TrainResult, home: Path) -> None:
    key = config.paths().config / "commitment.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes().hex() not in quick.to_bytes().decode()
    kept, sealed = key.read_bytes(), site_secret.commit({})
    try:
        key.unlink()
        assert site_secret.commit({}) != sealed
    finally:
        key.write_bytes(kept)


@pytest.mark.thorough
def test_folders_without_patients_are_counted_in_images(trained: TrainResult, images: Path, tmp_path: Path) -> None:
    for name, samples in (("inside", trained.run.members), ("outside", trained.run.holdout)):
        (tmp_path / name).mkdir()
        for number, sample in enumerate(samples):
            shutil.copy(sample.path, tmp_path / name / f"{number:03d}.png")
    seen: list[Progress] = []
    report = audit(
        trained, members=tmp_path / "inside", nonmembers=tmp_path / "outside", device="cpu", on_progress=seen.append
    )
    assert report.unit == "image"
    exact = len(trained.run.members), len(trained.run.holdout)
    assert (report.members.units, report.nonmembers.units) == tuple(count - count % 5 for count in exact)
    assert report.design.split == "named by the caller"
    assert report.check() == []
    assert (seen[-1].stage, seen[-1].done) == ("measuring losses", seen[-1].total)


def test_training_anew_by_one_recipe_is_another_attempt_whoever_the_patients_are(
    trained: TrainResult, images: Path, base: Path
) -> None:
    """A published number that began anew would show that a patient left or came."""
    run = trained.run
    fewer = run.model_copy(update={"members": run.members[:-1], "holdout": run.holdout[1:]})
    anew, other = learn(images, base, holdout=0.3, seed=2), learn(images, base, holdout=0.4, steps=4)
    numbers = []
    for file, sampled in ((trained.embedding, run), (anew.embedding, fewer), (other.embedding, other.run)):
        sides = compare(*choose_sides(sampled, None, None))
        sealed = planning.seal(sides, Bounds(), None, "standard")
        numbers.append(planning.begin(file, "standard", 8, sealed, None).cohort_number)
    before = numbers[0]
    assert numbers == [before, before + 1, 1], "another recipe is another question"


def test_standard_trains_shadows_and_pools_their_coins(trained: TrainResult) -> None:
    seen: list[Progress] = []
    ranked: list[Any] = []
    report = audit(
        trained, suite="standard", shadows=4, device="cpu", on_progress=seen.append, on_exposed=ranked.extend
    )
    assert ranked and {item.name for item in ranked} <= {sample.patient_id for sample in trained.run.members}
    headline = report.headline_result
    assert (headline.name, headline.models) == ("lira-shadows", 4)
    assert sum(map(len, headline.ranks)) == 4 * 15  # coins of 10 and 5 patients, as the counts say, of 12 and 8
    assert {result.name for result in report.attacks if result.on_coins} == {
        name for name in SUITES["standard"] if name.endswith("-shadows")
    }
    assert (report.design.subject, report.design.shadows) == ("algorithm", 4)
    assert report.verdict != "no-leak-detected"  # ten patients a side
    assert report.check() == []
    stages = list(dict.fromkeys(progress.stage for progress in seen))
    assert stages[:2] == ["reading images", "loading the base"]
    assert stages[2:] == ["measuring losses", "shadow embeddings"]
    assert seen[-1].done == seen[-1].total == 3 * (4 + REFERENCES)


@pytest.mark.thorough
def test_thorough_runs_every_attack_and_counts_coins(trained: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "DRAWN", 2)
    monkeypatch.setattr(reidentification, "STEPS", 5)
    monkeypatch.setattr(nearest, "STEPS", 2)
    report = audit(trained, suite="thorough", shadows=4, device="cpu")
    assert set(report.tried) == {*SUITES["thorough"], "blind"}
    assert all(result.paper for result in report.attacks)
    assert report.coins is not None and (report.coins.coins, report.coins.guesses) == (60, 14)
    assert report.attack("secmi-shadows").order and "secmi" not in {row.name for row in report.attacks if row.order}
    assert report.check() == []


def test_a_patient_on_both_sides_is_refused(trained: TrainResult, images: Path) -> None:
    mixed = read_images(images)
    with pytest.raises(PrivacyError, match="12 patients are among"):
        audit(trained, nonmembers=mixed, device="cpu")


def test_a_picture_on_both_sides_is_refused(trained: TrainResult, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "manifest.csv").write_text("path,patient_id\n1.png,x1\n2.png,x2\n")
    Image.open(trained.run.members[3].path).save(tmp_path / "outside" / "1.png", compress_level=1)
    Image.fromarray(np.full((64, 64, 3), 7, np.uint8)).save(tmp_path / "outside" / "2.png")
    with pytest.raises(PrivacyError, match="1 pictures"):
        audit(trained, nonmembers=tmp_path / "outside", device="cpu")


def test_without_a_record_images_must_be_named(
    trained: TrainResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="no record") as caught:
        audit(trained, device="cpu")
    assert "--members" in caught.value.hint
    inside = read_images(Path(trained.run.members[0].path).parents[1])
    with pytest.raises(UsageError, match="no record"):
        audit(trained, members=inside, device="cpu")


def test_too_few_shadows_or_patients_are_refused(trained: TrainResult) -> None:
    with pytest.raises(UsageError, match="no shadow embedding to attack"):
        audit(trained, suite="standard", shadows=0, device="cpu")
    few = trained.run.model_copy(update={"holdout": trained.run.holdout[:4]})
    kept = runs.find(trained.embedding.digest)
    assert kept is not None
    try:
        runs.save(few)
        with pytest.raises(UsageError, match="needs 5 patients on each side"):
            audit(trained, device="cpu")
    finally:
        runs.save(kept)


def test_standard_needs_the_recipe(
    trained: TrainResult, base: Path, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = read_images(images)
    inside, outside = (everything.subset(part) for part in _halves(everything.samples))
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="same recipe"):
        audit(trained, members=inside, nonmembers=outside, base=base, suite="standard", device="cpu")


@pytest.mark.thorough
def test_sides_that_the_caller_names_are_patients_too(
    trained: TrainResult, base: Path, images: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = read_images(images)
    inside, outside = (everything.subset(part) for part in _halves(everything.samples))
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    report = audit(trained, members=inside, nonmembers=outside, base=base, device="cpu")
    assert report.unit == "patient"


def _halves(samples: Any) -> tuple[list[int], list[int]]:
    patients = sorted({sample.patient_id for sample in samples})
    first = set(patients[: len(patients) // 2])
    inside = [index for index, sample in enumerate(samples) if sample.patient_id in first]
    return inside, [index for index in range(len(samples)) if index not in set(inside)]


@pytest.mark.thorough
def test_nothing_kept_back_is_said_before_anything_is_measured(images: Path, base: Path) -> None:
    result = learn(images, base, seed=2)
    with pytest.raises(UsageError, match="no patient was held out") as caught:
        audit(result, device="cpu")
    assert "--holdout" in caught.value.hint


def test_another_base_is_refused(trained: TrainResult, tmp_path: Path) -> None:
    other = pipelines.write(tmp_path / "other", prediction="v_prediction")
    with pytest.raises(ArtifactError, match="not made for the base"):
        audit(trained, base=other, device="cpu")


def test_an_image_that_has_gone_is_named_by_its_place(trained: TrainResult, base: Path, tmp_path: Path) -> None:
    lost = trained.run.model_copy(
        update={
            "members": tuple(s.model_copy(update={"path": f"{tmp_path}/gone.png"}) for s in trained.run.members[:1])
        }
    )
    kept = runs.find(trained.embedding.digest)
    assert kept is not None
    try:
        runs.save(lost)
        with pytest.raises(UsageError, match="image 1 of the members is no longer there") as caught:
            audit(trained, device="cpu")
        assert "gone.png" not in str(caught.value)
    finally:
        runs.save(kept)


@pytest.mark.thorough
def test_a_split_by_image_is_called_one(images: Path, base: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((images / "images").glob("*.png"))[:10]):
        shutil.copy(path, tmp_path / f"{number:03d}.png")
    report = audit(learn(tmp_path, base, holdout=0.5, seed=4), device="cpu")
    assert (report.unit, report.design.split) == ("image", "by image, held out before training")
    assert (report.members.units, report.nonmembers.units) == (5, 5)
