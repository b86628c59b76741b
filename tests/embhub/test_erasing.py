"""An erasure: what a patient's images were used for is found, withdrawn and proved, and no id leaves the site."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.cards.published_evaluation import Cohort, Images
from embhub.client.member import erasing
from embhub.client.wire.hub import Hub
from embhub.errors import UsageError
from embhub.ledger import budget, concerned, publications, studies
from embhub.ledger.unit_sets import Unit
from embhub.site.memory import evaluated_patients, runs, secret
from tests.support.between import World
from tests.support.claims import make_study
from tests.support.releases import make_embedding, make_release
from tests.support.sites import Site

PATIENT, OTHER, HELD = "PAT-00417", "PAT-00418", "PAT-00419"
PLAIN = {"seed": 1, "recipe": {}}


@pytest.fixture
def site(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path / "site", world.registry.url, world.token).enter(monkeypatch)
    made.trust(world.registry)
    return made


def trained(
    seed: int, *, members: tuple[str, ...], holdout: tuple[str, ...] = (), noted: Mapping[str, Any] = PLAIN
) -> str:  # fmt: skip
    """A training as this site would have noted it; returns the digest of its file."""
    digest = make_embedding(seed=seed).digest
    samples = [tuple(runs.Sample(path=f"/images/{p}.png", patient_id=p) for p in side) for side in (members, holdout)]
    runs.save(
        runs.Run(
            embedding_digest=digest, base="builtin", caption="mri, {}", token="<cspca>", vectors=8,
            members=samples[0], holdout=samples[1], settings=dict(noted),
        )
    )  # fmt: skip
    return digest


def published(world: World, name: str, seed: int) -> str:
    repository = f"radboud/{name}"
    release = make_release(repository=repository, artifact=make_embedding(seed=seed))
    Hub(world.registry.url, token=world.token).push(release, repository)
    publications.note_published(make_embedding(seed=seed).digest, repository, "1.0.0")
    return repository


def test_the_drill(
    world: World, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (trained(seed, members=(PATIENT, OTHER)) for seed in (301, 302))
    trained(303, members=(OTHER,), holdout=(PATIENT,))
    trained(304, members=(OTHER,))
    names = [published(world, name, seed) for name, seed in (("drill-one", 301), ("drill-two", 302))]
    for _ in range(2):
        publications.note_published(first, names[0], "1.0.0", on="hub:radboudumc/drill-one")
    before = {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}

    assert main(["curate", "erase", PATIENT, "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    plan = json.loads(said.out)
    roles = {file["digest"]: (file["role"], file["published"]) for file in plan["files"]}
    assert roles[first] == ("member", [[names[0], "1.0.0", ""]]) and roles[second] == (
        "member",
        [[names[1], "1.0.0", ""]],
    )
    assert roles[make_embedding(seed=303).digest] == ("held-out", [])
    assert make_embedding(seed=304).digest not in roles
    (one,) = [file for file in plan["files"] if file["digest"] == first]
    assert one["on_hub"] == ["hub:radboudumc/drill-one"]
    assert "hub:radboudumc/drill-one. Nothing here withdraws it" in " ".join(plan["differencing"])
    assert PATIENT not in said.out and "compare them" in " ".join(plan["differencing"])
    assert {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()} == before

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PATIENT}\n"))
    assert main(["curate", "erase", "-", "--withdraw", "--out", "proofs", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    for name in names:
        (row,) = world.registry.get(f"/embhub/v1/status/{name}").json()["yanked"]
        assert (row["scope"], row["by"], row["reason"]) == ("bytes", "publisher", erasing.REASON)
    proofs = sorted(Path("proofs").glob("*.json"))
    assert len(proofs) == 2 == len(done["releases"])
    told = [json.loads(path.read_bytes()) for path in proofs]
    assert {item["repository"] for item in told} == set(names) and all(item["withdrawn"] for item in told)
    log = site.folder / "home/state/erasures.jsonl"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600 and len(log.read_text().splitlines()) == 1
    for text in (*(path.read_text() for path in proofs), log.read_text(), json.dumps(done)):
        assert PATIENT not in text and "keyed-" not in text and "/images/" not in text

    for proof in proofs:  # the site can open its proofs, for this patient alone
        assert main(["curate", "erase", PATIENT, "--check", str(proof)]) == 0
        assert main(["curate", "erase", OTHER, "--check", str(proof)]) == 3


def test_a_proof_is_no_oracle_and_two_of_them_share_nothing(world: World, site: Site) -> None:
    """Whoever holds the proofs can neither test a guess nor tell that they are about one person."""
    erased = [erasing.Erased(letter * 16, "radboud/x", "1.0.0", letter * 64, withdrawn=True) for letter in "ab"]
    proofs, registry = site.folder / "proofs", "https://hub.example.org"
    first, second = (
        json.loads(Path(item.proof).read_bytes())
        for item in erasing.leave_proofs(erased, patient_id=PATIENT, folder=proofs, registry=registry)
    )
    shared = {key for key in first if first[key] == second[key]}
    assert shared == {"schema", "date", "registry", "repository", "version", "withdrawn", "statement"}
    assert len(first["date"]) == 10, "a day, no time of day"
    guesses = {sha256(text.encode()).hexdigest() for text in (PATIENT, first["erasure"] + PATIENT)}
    assert first["commitment"] not in guesses
    assert erasing.is_about(site.folder / f"proofs/erasure-{'a' * 16}.json", PATIENT)
    (site.folder / "home/config/commitment.key").unlink()  # another site, or whoever has the file alone
    assert secret.derive_key("anything")
    assert not erasing.is_about(site.folder / f"proofs/erasure-{'a' * 16}.json", PATIENT)


def test_the_ledger_knows_what_no_record_does(world: World, site: Site) -> None:
    digest = make_embedding(seed=310).digest
    with budget.reserve([PATIENT, OTHER], unit="patient", mechanism="none", steps=5) as run:
        run.spend(5)
        run.release(digest)
    (file,) = erasing.find(PATIENT).files
    assert (file.digest, file.role, file.private, file.recipe) == (digest, "ledger", False, False)
    assert erasing.find(HELD).files == () and concerned.find(HELD).files == ()
    assert erasing.find("pat-00417").alike == 1, "another spelling is not taken for the same person, but said"


def test_what_is_said_of_an_unknown_id_is_of_the_id_not_of_the_person(
    world: World, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with budget.reserve([PATIENT, OTHER], unit="patient", mechanism="none", steps=5) as run:
        run.spend(5)
        run.release(make_embedding(seed=310).digest)
    assert main(["curate", "erase", "pat-00417", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "no file that images under this patient id were used for" in said.out
    assert "1 ids differ from this one" in said.err


def test_a_study_whose_file_this_site_did_not_sign_is_named(
    world: World, site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too few consents are no reason to publish nothing: the patient's vectors may be in a release of other sites."""
    study = make_study()
    run = studies.charge(study, [PATIENT, OTHER])
    assert (concerned.find(PATIENT).studies, concerned.find(PATIENT).unfinished) == ((study.digest,), 0)
    monkeypatch.setattr("sys.stdin", io.StringIO(PATIENT))
    assert main(["curate", "erase", "-", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert f"embhub study status {study.digest}" in said.err and "name no file" not in said.out
    with budget.reserve([OTHER], unit="patient", mechanism="dp-sgd", q=0.5, sigma=1.0, steps=5) as later:
        assert later.run != run and later.lineage()["tuning_runs"] == 0, "it may have led to a file"
    studies.note_release(study.digest, "ab" * 32)
    assert concerned.find(PATIENT).studies == ()


@pytest.mark.parametrize(
    ("noted", "again"),
    [
        (PLAIN | {"protection": {"epsilon": 4.0}}, True),
        (PLAIN, False),
        ({"study": "a" * 64}, False),
        ({"ported_from": "b" * 64, "protection": {}}, False),
        ({"adapter": {}, "seed": 1}, False),
    ],
    ids=["private", "protection lost", "study", "port", "adapter"],
)
def test_only_a_whole_recipe_is_trained_again(
    world: World, site: Site, capsys: pytest.CaptureFixture[str], noted: dict[str, Any], again: bool
) -> None:
    digest = trained(350, members=(PATIENT, OTHER), noted=noted)
    with budget.reserve([PATIENT, OTHER], unit="patient", mechanism="dp-sgd", steps=5, q=0.25, sigma=4.0) as run:
        run.spend(5)
        run.release(digest)
    (file,) = erasing.find(PATIENT).files
    assert (file.private, file.recipe) == (True, again)
    if not again:
        assert main(["curate", "erase", PATIENT, "--retrain", "--out", "again"]) == 0
        assert "member, trained with differential privacy, cannot be trained again here" in capsys.readouterr().out
        assert not Path("again").exists()


@pytest.mark.parametrize("unit", ["patient", "image"])
def test_only_a_claim_for_patients_bounds_what_is_revealed_about_one(world: World, site: Site, unit: Unit) -> None:
    digest, images = make_embedding(seed=330).digest, [sha256(b"%d" % number).hexdigest() for number in range(8)]
    units = [PATIENT, OTHER] if unit == "patient" else images
    with budget.reserve(units, unit=unit, mechanism="dp-sgd", steps=5, q=0.25, sigma=4.0) as run:
        run.spend(5)
        run.release(digest)
    with budget.reserve(  # of images the ledger knows the patient by a training that named both
        [PATIENT], unit="patient", mechanism="none", steps=5, pictures=[(image, PATIENT) for image in images]
    ) as run:
        run.spend(5)
    plan = erasing.find(PATIENT)
    (file,) = plan.files
    assert (file.private, file.per_patient) == (True, unit == "patient")
    said = " ".join(erasing.explain(plan, replaced=False))
    assert ("no more than the earlier claim bounds" in said) == (unit == "patient")
    assert ("may reveal far more than its epsilon says" in said) == (unit == "image")


def test_a_published_port_that_was_made_on_another_machine_is_found(world: World, site: Site) -> None:
    source = trained(360, members=(PATIENT, OTHER))
    port, again = (make_embedding(seed=seed).digest for seed in (361, 362))
    publications.note_published(again, "radboud/port-of-port", "1.0.0", source=port)
    publications.note_published(port, "radboud/port", "1.0.0", source=source)
    plan = erasing.find(PATIENT)
    assert {(file.digest, file.recipe) for file in plan.files} >= {(source, True), (port, False), (again, False)}
    assert {release[0] for release in plan.releases} >= {"radboud/port", "radboud/port-of-port"}
    assert not {port, again} & {file.digest for file in erasing.find("somebody else").files}


def test_a_reason_that_names_the_patient_is_refused_before_anything_is_sent(world: World, site: Site) -> None:
    trained(320, members=(PATIENT, OTHER))
    name = published(world, "drill-reason", 320)
    assert main(["curate", "erase", PATIENT, "--withdraw", "--reason", f"objection of {PATIENT.lower()}"]) == 2
    named = ["--reason", "Mrs. Anna Jansen, born 12-03-1961, withdrew consent"]
    assert main(["curate", "erase", PATIENT, "--withdraw", *named]) == 6
    assert main(["curate", "yank", name, *named]) == 6
    assert world.registry.get(f"/embhub/v1/status/{name}").json()["yanked"] == []
    with pytest.raises(UsageError):
        erasing.find("  ")


def test_a_withdrawal_that_the_registry_refuses_is_said_and_stops_no_other(
    world: World, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(330, members=(PATIENT,))
    trained(331, members=(PATIENT,))
    publications.note_published(make_embedding(seed=330).digest, "radboud/never-pushed", "1.0.0")
    name = published(world, "drill-half", 331)
    assert main(["curate", "erase", PATIENT, "--withdraw", "--json"]) == 5
    done = {row["repository"]: row for row in json.loads(capsys.readouterr().out)["releases"]}
    assert not done["radboud/never-pushed"]["withdrawn"] and done["radboud/never-pushed"]["refused"]
    assert done[name]["withdrawn"]
    assert not json.loads(Path(done["radboud/never-pushed"]["proof"]).read_bytes())["withdrawn"]


def test_a_release_at_another_registry_is_withdrawn_there_and_not_counted_as_withdrawn_here(
    world: World, site: Site
) -> None:
    trained(350, members=(PATIENT,))
    name, elsewhere = published(world, "two-homes", 350), "https://other.example.org"
    publications.note_published(make_embedding(seed=350).digest, name, "1.0.0", registry=elsewhere)
    here, there = erasing.withdraw(erasing.find(PATIENT), patient_id=PATIENT)
    assert here.withdrawn and not there.withdrawn and elsewhere in there.refused


def test_what_else_counts_the_patient_is_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Published evaluations, interrupted audits, and ids that are nearly this one."""
    group = {PATIENT: Images(2, "a" * 64), OTHER: Images(2, "b" * 64)}
    evaluated_patients.remember(
        Cohort((group, {}), ({}, {}), 0), registry="r", repository="radboud/x", digest="ab" * 32
    )
    (site.folder / "home/state/audits/one").mkdir(parents=True)
    with budget.reserve([PATIENT.lower()], unit="patient", mechanism="none", steps=1) as run:
        run.spend(1)
    assert erasing.find(OTHER).evaluations == ("radboud/x",) and erasing.find(HELD).evaluations == ()
    assert main(["curate", "erase", PATIENT, "--dry-run"]) == 0
    said = "".join(capsys.readouterr())
    assert "evaluation of radboud/x counts this patient" in said and "1 interrupted audits" in said
    assert "--issuer" in said


def test_a_publisher_yanks_by_command(world: World, site: Site) -> None:
    name = published(world, "by-command", 340)
    assert main(["curate", "yank", f"{name}@1.0.0", "--scope", "bytes", "--reason", "swapped labels"]) == 0
    (row,) = world.registry.get(f"/embhub/v1/status/{name}").json()["yanked"]
    assert (row["scope"], row["by"]) == ("bytes", "publisher")
    assert main(["curate", "yank", f"{name}@9.9.9", "--reason", "x"]) == 5
