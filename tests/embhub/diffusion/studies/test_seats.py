"""What a site keeps of a study: opened by the digest alone, by one process, for the patients who were charged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from embhub.artifact import fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.studies import joining, learner, seats
from embhub.diffusion.studies.proposing import StudySettings, make_study
from embhub.diffusion.studies.seats import Seat
from embhub.errors import ConfigError, UsageError
from embhub.ledger import elsewhere
from embhub.ledger import studies as ledger
from embhub.phantoms import write_dataset
from embhub.site import config
from embhub.study import folder, tasks
from embhub.study.coordinating import StudyEndedError
from embhub.study.plan import Study, read_study
from embhub.study.wire import StudyStepError
from tests.support.claims import make_study_claim
from tests.support.releases import make_embedding
from tests.support.study_runs import KEYS, NAMES, study_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Iterator[None]:
    with config.elsewhere(tmp_path / "home"):
        yield


@pytest.fixture(scope="module")
def proposed(base: Path) -> tuple[Study, bytes]:
    asked = StudySettings(
        repository="site-01/finding", base=fingerprint.digest(fingerprint.take(base)), base_name="tiny",
        caption="prostate mri, {}", token="<a>", sites=NAMES[:3], n_public=40, epsilon=8.0, colluders=0, steps=2,
    )  # fmt: skip
    return make_study(asked, load_pipeline(find_base(base), device="cpu"))


def join(study: Study, tmp_path: Path, base: Path, *, charged: bool = True) -> Path:
    write_dataset(tmp_path / "images", "prostate-cspca", images=8, patients=5, seed=1)
    seat = Seat(NAMES[0], str(tmp_path / "images" / "manifest.csv"), base=str(base), device="cpu", holdout=0.0)
    _, members, _ = seats.read_split(seat)
    key = seats.take_seat(study, seat)
    if charged:
        ledger.charge(study, members.names(), pictures=members.pictures())
    keys = {site: KEYS[site].public for site in study.sites}
    seats.pin_keys(study.digest, "site", {**keys, NAMES[0]: key.public})
    return tmp_path / "images" / "manifest.csv"


def test_a_site_is_opened_by_the_digest_and_by_one_process(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, frame = proposed
    join(study, tmp_path, base)
    with seats.open_site(study.digest) as site:
        answer = site.answer("prepare", tasks.ask_of(study.digest, "prepare", frame))
        tasks.read_answer(answer, study=study.digest, task="prepare")
        with pytest.raises(ConfigError, match="another process"), seats.open_site(study.digest):
            pass
    assert seats.load_key(study.digest).fingerprint
    with pytest.raises(ConfigError):
        join(study, tmp_path / "again", base)


def test_nothing_is_answered_that_the_ledger_was_not_charged_for(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    """What the seat's own file says does not count: the ledger is asked."""
    study, _ = proposed
    join(study, tmp_path, base, charged=False)
    with pytest.raises(StudyStepError, match="not charged"), seats.open_site(study.digest):
        pass
    again = join(study, tmp_path, base, charged=False)
    assert again.exists(), "nothing was charged or begun, so the seat may be taken anew"
    (seats.place(study.digest, "site") / "begun").write_text("1")
    with pytest.raises(ConfigError):
        join(study, tmp_path, base)


def test_a_file_from_elsewhere_that_names_the_study_is_no_charge_for_it(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, _ = proposed
    join(study, tmp_path, base, charged=False)
    claim = make_study_claim()
    assert claim.study is not None
    named = claim.model_copy(update={"study": claim.study.model_copy(update={"digest": study.digest})})
    elsewhere.count(["somebody"], make_embedding(privacy=named))
    assert not seats.is_taken(study.digest)
    with pytest.raises(StudyStepError, match="not charged"), seats.open_site(study.digest):
        pass


def test_a_patient_who_was_not_charged_is_not_learned_from(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, frame = proposed
    manifest = join(study, tmp_path, base)
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([*lines[:-1], lines[-1].replace(lines[-1].split(",")[1], "somebody-else")]) + "\n")
    with seats.open_site(study.digest) as site:
        found, _ = tasks.unpack(tasks.Answered, site.answer("prepare", tasks.ask_of(study.digest, "prepare", frame)))
    assert found.refused
    assert "not those that were charged" in (seats.place(study.digest, "site") / "trouble").read_text()


def test_another_s_picture_under_a_name_that_was_charged_is_not_learned_from(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, frame = proposed
    manifest = join(study, tmp_path, base)
    picture = next(path for path in sorted(manifest.parent.rglob("*")) if path.suffix in (".png", ".tif", ".tiff"))
    Image.fromarray(np.full((64, 64), 7, dtype=np.uint8)).save(picture)
    with seats.open_site(study.digest) as site:
        found, _ = tasks.unpack(tasks.Answered, site.answer("prepare", tasks.ask_of(study.digest, "prepare", frame)))
    assert found.refused
    assert "not those that were charged" in (seats.place(study.digest, "site") / "trouble").read_text()


def test_a_seat_that_names_other_images_than_were_charged_learns_from_none(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    """What the seat's own file says does not count: the ledger is asked."""
    study, frame = proposed
    join(study, tmp_path, base)
    others = write_dataset(tmp_path / "others", "prostate-cspca", images=8, patients=5, seed=2)
    there = seats.place(study.digest, "site") / "seat.json"
    there.write_text(json.dumps({**json.loads(there.read_text()), "images": str(others)}))
    with seats.open_site(study.digest) as site:
        found, _ = tasks.unpack(tasks.Answered, site.answer("prepare", tasks.ask_of(study.digest, "prepare", frame)))
    assert found.refused
    assert "not those that were charged" in (there.parent / "trouble").read_text()


@pytest.mark.parametrize(
    "name", ["radboud/base", "{}", "radboud", "builtin/", "./builtin", "evil/beacon@main", "builtin + lora=evil/beacon",
             "builtin + lora={}", " builtin", ""],
)  # fmt: skip
def test_the_name_of_a_study_s_base_opens_nothing_but_a_built_in_base(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    study, frame = proposed
    for folder_here in (tmp_path / "radboud", tmp_path / "radboud" / "base", tmp_path / "builtin"):
        shutil.copytree(base, folder_here, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for library, call in ((diffusers.DiffusionPipeline, "download"), (huggingface_hub, "snapshot_download")):
        monkeypatch.setattr(library, call, lambda *_, **__: pytest.fail("the Hub was asked"))
    named = study.model_copy(update={"base_name": name.format(tmp_path / "radboud")})
    write_dataset(tmp_path / "images", "prostate-cspca", images=8, patients=5, seed=1)
    seat = Seat(NAMES[0], str(tmp_path / "images" / "manifest.csv"), device="cpu", holdout=0.0)
    _, members, back = seats.read_split(seat)
    with pytest.raises(UsageError, match="does not come with embhub"):
        joining._check(named, seat, members)
    with pytest.raises(UsageError, match="does not come with embhub"):
        learner.site_training(named, members, back, device="cpu")(frame)
    joining._check(named, replace(seat, base=str(base)), members)


def test_a_built_in_base_is_found_by_its_name_and_no_folder_of_that_name(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = proposed
    shutil.copytree(base, tmp_path / "builtin")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="not the study's"):  # the folder is, and the built-in base is not
        learner.find_site_base(study.model_copy(update={"base_name": "builtin"}), None)


def test_a_study_whose_recipe_contradicts_its_numbers_is_refused_before_anything_is_charged(tmp_path: Path) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=8, patients=5, seed=1)
    seat = Seat(NAMES[0], str(tmp_path / "images" / "manifest.csv"), holdout=0.0)
    _, members, _ = seats.read_split(seat)
    with pytest.raises(UsageError, match="recipe"):
        joining._check(study_of(), seat, members)


WRONG: dict[str, tuple[str, Any]] = {
    "a time below the first": ("lowest", -1.5),
    "a time above the last": ("lowest", 1.0),
    "a time that is none": ("lowest", None),
    "a time in words": ("lowest", "0.1"),
    "a time that is a flag": ("lowest", True),
    "a share that is none": ("high_noise", None),
    "a share in words": ("high_noise", "0.4"),
    "half a step": ("warm_up", 1.5),
    "a flag in words": ("mixed_precision", "yes"),
    "a flag that is a number": ("gradient_checkpointing", 1),
    "a number for a word": ("initializer_text", 1),
    "a setting that nobody knows": ("highest", 1),
    "images at a time, as a flag": ("micro_batch_size", True),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_recipe_that_could_fail_only_with_patients_is_refused_before_anything_is_charged(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path, case: str
) -> None:
    study, _ = proposed
    join(study, tmp_path, base, charged=False)
    seat = Seat(NAMES[0], str(tmp_path / "images" / "manifest.csv"), base=str(base), holdout=0.0)
    _, members, _ = seats.read_split(seat)
    joining._check(study, seat, members)
    name, value = WRONG[case]
    wrong = read_study(study.model_copy(update={"recipe": {**study.recipe, name: value}}).to_bytes())
    with pytest.raises(UsageError):
        joining._check(wrong, seat, members)
    with pytest.raises(UsageError, match="max_grad_norm"):
        joining._check(study.model_copy(update={"clip": 1e300}), seat, members)
    unlike = read_study(study.model_copy(update={"preprocessing": {"fit": "crop", "resolution": "64"}}).to_bytes())
    with pytest.raises(UsageError, match="resolution"):
        joining._check(unlike, seat, members)


def test_the_keys_of_the_sites_do_not_change_once_they_are_kept(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, _ = proposed
    join(study, tmp_path, base)
    kept = {site: KEYS[site].public for site in study.sites} | {NAMES[0]: seats.load_key(study.digest).public}
    seats.pin_keys(study.digest, "site", kept)
    with pytest.raises(ConfigError, match="other keys"):
        seats.pin_keys(study.digest, "site", kept | {NAMES[1]: KEYS[NAMES[4]].public})


def test_a_site_that_withdrew_begins_nothing(proposed: tuple[Study, bytes], tmp_path: Path, base: Path) -> None:
    study, frame = proposed
    join(study, tmp_path, base)
    with seats.open_site(study.digest) as site:
        site.answer("prepare", tasks.ask_of(study.digest, "prepare", frame))
        folder.withdraw(seats.place(study.digest, "site"))
        found, _ = tasks.unpack(tasks.Answered, site.answer("begin", tasks.ask_of(study.digest, "begin", number=1)))
    assert found.refused == "this site has withdrawn from the study"


def test_what_was_not_joined_or_is_not_complete_is_not_opened(
    proposed: tuple[Study, bytes], tmp_path: Path, base: Path
) -> None:
    study, frame = proposed
    for digest in (study.digest, "../x", ""):
        with pytest.raises(ConfigError), seats.open_site(digest):
            pass
    seats.take_chair(study, frame, base=str(base), device="cpu")
    with pytest.raises(ConfigError, match="not all sites"):
        seats.coordinate(study.digest, lambda _task, _data, _seconds: {})
    assert seats.outcome(study.digest) is None
    seats.pin_keys(study.digest, "coordinator", {site: KEYS[site].public for site in study.sites})
    assert seats.standing(study.digest, "coordinator") == seats.Standing(
        0, 0, "", withdrawn=False, left=False, judged="", consented=""
    )
    with pytest.raises(StudyEndedError, match="0 of 3 sites are ready"):
        seats.coordinate(study.digest, lambda _task, _data, _seconds: {})
    found = seats.standing(study.digest, "coordinator")
    assert found is not None and found.begun == 0 and "0 of 3 sites are ready" in found.trouble
    assert seats.standing(study.digest, "site") is None
