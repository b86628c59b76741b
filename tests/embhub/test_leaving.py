"""What leaves is charged and asked about: audits with figures of patients, and versions that are few patients apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.cli import root
from embhub.client.publishing import push as publishing
from embhub.client.publishing import sent
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.ledger import budget, concerned, publications
from embhub.ledger.books import open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.ledger.published_audits import charge_audit, remember_sides
from embhub.ledger.spending import Spending
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.site import config
from embhub.site.memory import runs
from tests.support.claims import make_claim, make_private_release
from tests.support.packs import make_site
from tests.support.ports import make_port
from tests.support.sites import Site

INSIDE = [(f"in{number}", f"{number:064x}") for number in range(30)]
OUTSIDE = [(f"out{number}", f"{number + 100:064x}") for number in range(30)]
MEMBERS, KEPT_BACK = [name for name, _ in INSIDE], [name for name, _ in OUTSIDE]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path / "site", "http://127.0.0.1:9").enter(monkeypatch)
    from embhub.site.signing import keys

    keys.generate("default")
    return found


def train(file: Path, patients: list[str], *, unit: Any = "patient") -> budget.Reservation:
    with budget.reserve(patients, unit=unit, mechanism="none", steps=1) as run:
        run.spend()
    run.release(embedding.read(file).digest)
    return run


def private(patients: list[str]) -> budget.Reservation:
    with budget.reserve(patients, unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5) as run:
        run.spend(5)
    return run


def remember(file: Path, *, unit: Any = "patient") -> None:
    remember_sides(
        release_files.digest(at_the_site.beside(file, at_the_site.AUDIT).read_bytes()), INSIDE, OUTSIDE, unit=unit
    )


def sign(file: Path, **choices: Any) -> None:
    publishing.sign(file, repository="radboud/prostate-cspca", **choices)


def audits() -> list[Spending]:
    with open_books() as books:
        return [run for run in books.account().runs.values() if run.report]


def test_a_signed_audit_charges_members_and_those_kept_back(site: Site) -> None:
    """Then differential privacy on those kept back: no bound holds for them any more."""
    file = site.make()
    train(file, MEMBERS)
    remember(file)
    assert private(KEPT_BACK).spent().epsilon is not None, "what stays here costs nobody anything"
    sign(file)
    for patients in (MEMBERS, KEPT_BACK, [KEPT_BACK[7]]):
        assert private(patients).spent().epsilon is None
    after = private(["somebody else"])
    assert after.spent().epsilon is not None
    assert after.lineage()["composition"].plain == 1, "the file and its audit are one release"
    (charged,) = audits()
    assert charged.settled and charged.count == 60


def test_it_is_charged_once_for_each_report(site: Site) -> None:
    file = site.make()
    remember(file)
    remember(file)
    sign(file)
    sign(file)
    publishing.push(file, dry_run=True, out=site.folder / "outbox")
    assert len(audits()) == 1


def test_a_signature_from_before_is_charged_when_it_is_pushed(site: Site, tmp_path: Path) -> None:
    file = site.make()
    sign(file)
    for path in ("state/budget/ledger.jsonl", "config/budget.head"):
        (site.folder / "home" / path).unlink()
    remember(file)
    assert not audits()
    publishing.push(file, dry_run=True, out=tmp_path / "outbox")
    assert [run.count for run in audits()] == [60]


def test_pictures_without_ids_are_charged_and_found_again(site: Site) -> None:
    file = site.make()
    remember(file, unit="image")
    sign(file)
    with budget.reserve(
        ["late"], unit="patient", mechanism="dp-sgd", q=0.1, sigma=2.0, steps=5, pictures=[(OUTSIDE[3][1], "late")]
    ) as run:
        run.spend(5)
    assert run.spent().epsilon is None


def test_the_record_of_the_training_names_the_sides_where_the_audit_did_not(site: Site) -> None:
    file = make_site(site.folder / "own", "quick")
    record(file, MEMBERS, KEPT_BACK)
    charge_audit(at_the_site.read(file))
    assert private(KEPT_BACK).spent().epsilon is None
    assert len(concerned.find(KEPT_BACK[0]).audits) == 1, "an erasure counts it"


def record(file: Path, members: list[str], holdout: list[str], **settings: str) -> None:
    made = embedding.read(file)
    samples = [tuple(runs.Sample(path=f"{name}.png", patient_id=name) for name in side) for side in (members, holdout)]
    runs.save(
        runs.Run(
            embedding_digest=made.digest, base="b", caption="mri, {}", token=made.token, vectors=1,
            members=samples[0], holdout=samples[1], settings=settings,
        )
    )  # fmt: skip


@pytest.mark.parametrize("named", [True, False])
def test_an_audit_of_nobody_knows_whom_is_counted_and_said(site: Site, named: bool) -> None:
    file = site.make()
    if named:
        record(file, ["image 1", "image 2"], ["image 3"])
    said: list[str] = []
    sign(file, on_note=said.append)
    assert "unknown to this site" in said[0] and [run.count for run in audits()] == [0]
    assert private(["p"]).lineage()["composition"].plain == 1
    assert CliRunner().invoke(root, ["budget", "show"]).exit_code == 0


def test_a_cap_refuses_the_signature_and_nothing_is_written(site: Site) -> None:
    file = site.make()
    remember(file)
    budget.set_cap(4.0, units=[KEPT_BACK[0]])
    with pytest.raises(BudgetExceededError, match="an audit with figures of patients") as caught:
        sign(file)
    assert caught.value.exit_code == 6
    assert not audits() and not at_the_site.beside(file, at_the_site.PUBLISH_BUNDLE).exists()


def test_reports_about_nobody_charge_nobody(site: Site) -> None:
    release = at_the_site.read(make_site(site.folder / "own", "mechanism", claim=make_claim()))
    assert release.audit is not None
    charge_audit(release)
    charge_audit(make_private_release())
    assert not audits()


@pytest.mark.parametrize("sides", [([], OUTSIDE), (INSIDE, [("p", "")])])
def test_sides_without_images_are_refused(site: Site, sides: tuple[list[Any], list[Any]]) -> None:
    with pytest.raises(UsageError):
        remember_sides("a" * 64, *sides, unit="patient")
    with pytest.raises(UsageError):
        remember_sides("no digest", INSIDE, OUTSIDE, unit="patient")


def make_version(site: Site, number: int, *, name: str = "prostate-cspca") -> Path:
    folder = Site(site.folder / f"v{number}")
    folder.folder.mkdir()
    return folder.make(name, seed=number, audited=False, version=f"{number}.0.0")


def version(site: Site, number: int, patients: list[str], *, name: str = "prostate-cspca", **more: Any) -> Path:
    file = make_version(site, number, name=name)
    train(file, patients, **more)
    return file


def send(file: Path, *words: str, repository: str = "radboud/prostate-cspca") -> Result:
    out = file.parent / "outbox"
    return CliRunner().invoke(root, ["push", str(file), repository, "--dry-run", "--out", str(out), *words])


PATIENTS = [f"p{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("second", "apart"),
    [
        (PATIENTS[1:], "1 patient,"),
        pytest.param([*PATIENTS, "new"], "1 patient,", marks=pytest.mark.thorough),
        (["new", *PATIENTS[1:]], "2 patients,"),
        pytest.param(PATIENTS[9:], "9 patients,", marks=pytest.mark.thorough),
    ],
)
def test_push_asks_before_a_version_that_is_few_patients_apart(site: Site, second: list[str], apart: str) -> None:
    assert send(version(site, 1, PATIENTS)).exit_code == 0
    file = version(site, 2, second)
    result = send(file)
    assert isinstance(result.exception, PrivacyError) and result.exception.exit_code == 6
    assert f"differ from those of radboud/prostate-cspca 1.0.0 by {apart}" in result.exception.message
    assert not (file.parent / "outbox").exists()
    assert main(["push", str(file), "radboud/prostate-cspca", "--dry-run", "--out", str(file.parent / "outbox")]) == 6
    assert send(file, "--yes").exit_code == 0


@pytest.mark.parametrize("ported", ["first", "second", "both"])
def test_a_port_counts_as_the_file_that_it_was_made_from(site: Site, ported: str) -> None:
    """It is computed from the file and public numbers alone, so two ports are compared like their sources."""
    files = []
    for number, patients in ((1, PATIENTS), (2, PATIENTS[1:])):
        if ported in ("both", ("first", "second")[number - 1]):
            source = embedding.read(version(site, 10 + number, patients))
            files.append(make_version(site, number))
            record(files[-1], patients, [], ported_from=source.digest)
        else:
            files.append(version(site, number, patients))
    assert send(files[0]).exit_code == 0
    refused = send(files[1])
    assert isinstance(refused.exception, PrivacyError) and "by 1 patient," in refused.exception.message


def port(site: Site, number: int, source: Path, patients: list[str] = PATIENTS) -> Path:
    file = make_version(site, number)
    record(file, patients, [], ported_from=embedding.read(source).digest)
    return file


@pytest.mark.parametrize("times", [2, pytest.param(4, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("ported", ["earlier", pytest.param("new", marks=pytest.mark.thorough)])
def test_a_port_of_a_port_counts_as_the_file_at_the_beginning(site: Site, ported: str, times: int) -> None:
    patients = {"earlier": PATIENTS, "new": PATIENTS[1:]}
    files = {which: version(site, 10 + place, group) for place, (which, group) in enumerate(patients.items())}
    for number in range(times):
        files[ported] = port(site, 20 + number, files[ported], patients[ported])
    assert send(files["earlier"]).exit_code == 0
    refused = send(files["new"])
    assert isinstance(refused.exception, PrivacyError) and "by 1 patient," in refused.exception.message


def test_an_earlier_port_that_another_machine_made_counts_as_its_source(site: Site) -> None:
    """Its header names the source, and this home has no record of it."""
    source, second = version(site, 11, PATIENTS), version(site, 2, PATIENTS[1:])
    made = make_port(embedding.read(source))
    sent.note(made, "radboud/prostate-cspca", "1.0.0")
    refused = send(second)
    assert isinstance(refused.exception, PrivacyError) and "by 1 patient," in refused.exception.message


def record_of(file: Path) -> Path:
    return config.paths().state / "runs" / f"{embedding.read(file).digest}.json"


@pytest.mark.parametrize("harm", ["damaged", "readable by others"])
def test_a_record_that_cannot_be_used_never_makes_push_go_without_the_question(site: Site, harm: str) -> None:
    source = version(site, 11, PATIENTS)
    middle = port(site, 12, source)
    files = [port(site, 1, middle), version(site, 2, PATIENTS[1:])]
    assert send(files[0]).exit_code == 0
    path = record_of(middle)
    sound = path.read_bytes()
    if harm == "damaged":
        path.write_bytes(sound[:-9])
    else:
        path.chmod(0o644)
    for words in ((), ("--yes",)):
        stopped = send(files[1], *words)
        assert isinstance(stopped.exception, ConfigError) and str(path) in stopped.exception.message
        assert ("restore it from a backup" if harm == "damaged" else f"chmod 600 {path}") in stopped.exception.hint
    path.write_bytes(sound)
    path.chmod(0o600)
    assert isinstance(send(files[1]).exception, PrivacyError)


def test_no_record_is_needed_of_a_file_that_the_ledger_knows(site: Site) -> None:
    files = [version(site, 1, PATIENTS), version(site, 2, PATIENTS[1:]), version(site, 3, PATIENTS[20:])]
    for file in files:
        record(file, PATIENTS, [])
        record_of(file).write_text("{")
    assert send(files[0]).exit_code == 0
    assert isinstance(send(files[1]).exception, PrivacyError)
    assert send(files[2]).exit_code == 0


def test_records_that_name_each_other_as_source_are_an_error(site: Site) -> None:
    first, second = make_version(site, 1), make_version(site, 2)
    for file, source in ((first, second), (second, first)):
        record(file, PATIENTS, [], ported_from=embedding.read(source).digest)
    budget.set_cap(8.0)  # the site keeps a ledger
    stopped = send(first)
    assert isinstance(stopped.exception, ConfigError) and "a port of itself" in stopped.exception.message


@pytest.mark.parametrize("second", [PATIENTS, list(reversed(PATIENTS)), PATIENTS[10:], ["a", "b", "c"]])
def test_the_same_or_many_others_ask_nothing(site: Site, second: list[str]) -> None:
    send(version(site, 1, PATIENTS))
    assert send(version(site, 2, second)).exit_code == 0


def test_the_same_file_again_asks_nothing(site: Site) -> None:
    file = version(site, 1, PATIENTS)
    send(file)
    assert CliRunner().invoke(root, ["push", str(file), "--dry-run", "--out", str(site.folder / "o")]).exit_code == 0


def test_the_nearest_of_all_earlier_versions_counts_under_any_namespace(site: Site) -> None:
    send(version(site, 1, PATIENTS))
    send(version(site, 2, PATIENTS[:20]), repository="lumc/prostate-cspca")
    result = send(version(site, 3, PATIENTS[:17]))
    assert (
        isinstance(result.exception, PrivacyError)
        and "those of lumc/prostate-cspca 2.0.0 by 3 patients" in result.exception.message
    )


def test_another_name_is_no_way_around_the_question(site: Site) -> None:
    """Who subtracts two files needs the files, and not their names."""
    send(version(site, 1, PATIENTS))
    other = version(site, 2, PATIENTS[1:], name="prostate-cspca-2")
    result = send(other, repository="radboud/prostate-cspca-2")
    assert isinstance(result.exception, PrivacyError) and "those of radboud/prostate-cspca 1.0.0 by 1" in str(
        result.exception
    )


def test_an_embedding_of_other_patients_asks_nothing(site: Site) -> None:
    send(version(site, 1, PATIENTS))
    other = version(site, 2, [f"knee{number}" for number in range(40)], name="knee")
    assert send(other, repository="radboud/knee").exit_code == 0


def test_pictures_without_ids_are_compared_too(site: Site) -> None:
    send(version(site, 1, PATIENTS, unit="image"))
    assert send(version(site, 2, PATIENTS[2:], unit="image")).exit_code == 1


def test_a_person_is_asked_and_may_agree(site: Site) -> None:
    digests = []
    for number, patients in ((1, PATIENTS), (2, PATIENTS[1:])):
        file = version(site, number, patients)
        digests.append(embedding.read(file).digest)
    publications.note_published(digests[0], "radboud/prostate-cspca", "1.0.0")
    questions: list[str] = []

    def answer(question: str) -> bool:
        questions.append(question)
        return len(questions) > 1

    with pytest.raises(PrivacyError):
        publications.ask_about_few_apart(digests[1], confirm=answer)
    publications.ask_about_few_apart(digests[1], confirm=answer)
    assert len(questions) == 2 and "who compares the two files may find out about that one" in questions[0]


def test_a_machine_that_only_sends_opens_no_ledger(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = site.make()
    publishing.push(file, "radboud/prostate-cspca", dry_run=True, out=tmp_path / "outbox")
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "sender"))
    publishing.push(from_folder=tmp_path / "outbox", dry_run=True, out=tmp_path / "again")
    assert not (tmp_path / "sender" / "state" / "budget").exists()
