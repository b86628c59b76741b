"""Registered audits with a real registry and its real log: from the ledger's entry to `--require preregistered`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub import __main__ as program
from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.client.publishing import push as publishing
from embhub.client.publishing import registering
from embhub.client.publishing.registering import Open, Submitted
from embhub.client.pulling import pull as pulling
from embhub.client.wire import hub
from embhub.errors import ConfigError, RegistryError
from embhub.formats import safe_yaml
from embhub.ledger import audit_attempts
from embhub.ledger.audit_attempts import AuditPlan
from embhub.release import at_the_site, registered
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from embhub.release.verified import Verified
from embhub.site.memory import secret
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people import auth
from embhub_registry.repositories import audit_designs as at_registry
from tests.support import designs, hostile, releases
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, run_here, start_registry
from tests.support.sites import Site, new_key, open_site

NUMBERS = itertools.count()


def agree(question: str) -> bool:
    """An audit of so few may find a leak, by chance too: send it nevertheless."""
    return True


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("designs")))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def hospital(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    namespace = f"hospital-{next(NUMBERS)}"
    site = open_site(registry, tmp_path / "site", namespace=namespace, user=f"u{namespace}").enter(monkeypatch)
    new_key(registry, namespace=namespace)
    monkeypatch.setenv("EMBHUB_NAMESPACE", namespace)
    site.trust(registry)
    return site


def plan(file: Path, *, patients: str = "all") -> AuditPlan:
    """The entry in the ledger, as `planning.plan` makes it once it has read the images."""
    digest = embedding.read(file).digest
    attempt = audit_attempts.begin_audit(digest, suite="quick", shadows=0, sides=secret.commit({"sides": patients}))
    sealed = secret.commit({"sides": patients, "embedding": digest, "audit": attempt.id})
    return AuditPlan(attempt, {"auc": 0.6, "tpr": 0.1}, sealed)


def begin(file: Path, planned: AuditPlan) -> Open:
    given = registering.open_audit(file, planned, new=True, registry=None, key=None, ask=None)
    assert given is not None
    return given


def send(file: Path, suffix: str) -> Submitted:
    return registering.submit(at_the_site.beside(file, suffix))


def run(file: Path, planned: AuditPlan, *, shift: float = 0.0) -> AuditReport:
    """What the attacks would give, under the commitment of this plan."""
    artifact = embedding.read(file)
    made = designs.make_report(artifact, number=planned.attempt.number, shift=shift)
    report = made.model_copy(update={"commitment": planned.commitment})
    audit_attempts.finish_audit(planned.attempt, report.verdict)
    return report


def write(file: Path, report: AuditReport) -> None:
    """The report beside the file, and a card that knows of it."""
    at_the_site.beside(file, at_the_site.AUDIT).write_bytes(report.to_bytes())
    fields = releases.make_card(embedding.read(file), report=report, name=file.stem)
    at_the_site.beside(file, at_the_site.CARD).write_bytes(safe_yaml.dump(fields))


def said(found: Verified, check: str = "audit-design") -> list[str]:
    return [one.text for one in found.findings if one.check == check]


def test_a_registered_audit_from_the_design_to_the_reader(hospital: Site, tmp_path: Path) -> None:
    file = hospital.make(seed=11)
    planned = plan(file)
    given = begin(file, planned)
    design = send(file, registered.REGISTRATION)
    assert design.index is not None and send(file, registered.REGISTRATION) == design, "the same again is no other"
    assert begin(file, plan(file)).registration == given.registration, "an audit that is continued keeps its design"
    report = run(file, planned)
    registering.end_audit(given, file, report)
    write(file, report)
    result = send(file, registered.RESULT_FILE)
    assert result.index is not None and result.index > design.index
    pushed = publishing.push(file, confirm=agree)
    assert {release_files.AUDIT_DESIGN, release_files.AUDIT_RESULT} <= set(pushed.files)
    got = pulling.pull(pushed.repository, out=tmp_path / "got", require="preregistered")
    assert said(got) == [f"design logged at {design.index:,}, result at {result.index:,}, nothing dropped between"]
    offline = pulling.verify_path(tmp_path / "got", require="preregistered")
    assert "as read before" in said(offline)[0]


@pytest.mark.parametrize("place", quick(["export"], thorough=["mirror"]))
def test_designs_travel_with_a_registry_as_files(
    registry: RunningRegistry, hospital: Site, tmp_path: Path, place: str
) -> None:
    """Two audits, both with a result; without its design a reader of the log takes the earlier one for dropped."""
    file = hospital.make(seed=12)
    for _ in range(2):
        planned = plan(file)
        given = begin(file, planned)
        send(file, registered.REGISTRATION)
        report = run(file, planned)
        registering.end_audit(given, file, report)
        write(file, report)
        send(file, registered.RESULT_FILE)
    pushed = publishing.push(file, confirm=agree)
    folder = tmp_path / place
    if place == "export":
        registry.run("export", "--static", folder)
    else:
        words = ("--fingerprint", registry.root_fingerprint, "--name", "mirror.example.org", "--once")
        run_here("--dir", folder, "mirror", registry.url, *words)
        folder = folder / "site"
    got = pulling.pull(pushed.repository, registry=str(folder), out=tmp_path / "copy", require="preregistered")
    assert "nothing dropped between" in said(got)[0]


def test_a_site_without_a_network_carries_files_and_push_brings_the_result(
    hospital: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = hospital.make(seed=12)
    planned = plan(file)
    given = begin(file, planned)
    registering.carry_out(given, tmp_path / "carried.json")
    home = hospital.folder / "home"
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "office"))
    assert program.main(["log", "submit", str(tmp_path / "carried.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["what"] == "design"
    monkeypatch.setenv("EMBHUB_HOME", str(home))
    report = run(file, planned)
    registering.end_audit(given, file, report)
    write(file, report)
    pushed = publishing.push(file, confirm=agree)
    pulling.pull(pushed.repository, out=tmp_path / "got", require="preregistered")
    assert program.main(["log", "submit", str(file)]) == 4, "this is no design"


def test_a_bad_audit_cannot_be_dropped_even_with_the_registrys_help(
    registry: RunningRegistry, hospital: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hospital.make(seed=13)
    first = plan(file)
    begin(file, first)
    send(file, registered.REGISTRATION)
    assert run(file, first, shift=3.0).verdict == "leak-detected"  # and its result is never sent
    second = plan(file, patients="others")
    given = begin(file, second)
    send(file, registered.REGISTRATION)
    report = run(file, second)
    registering.end_audit(given, file, report)
    write(file, report)
    pushed = publishing.push(file, confirm=agree)
    with pytest.raises(PolicyRefusedError, match="1 registered before it and dropped: audit 1") as caught:
        pulling.pull(pushed.repository, out=tmp_path / "got", require="preregistered")
    assert caught.value.exit_code == 8
    digest = embedding.read(file).digest
    with registry.opened() as opened:
        assert len(at_registry.answer(opened, None, digest)["designs"]) == 2
    with hostile.stand_between(registry.url) as middle:
        middle.lies["/embhub/v1/designs/"] = hostile.edited(_only_good)
        monkeypatch.setattr(hub.Hub, "statements", lambda self, listed, digest: (
            hub.Hub(middle.url) if listed == "designs" else self
        ).question(f"{listed}/{digest}", what=listed, limit=1_000_000))  # fmt: skip
        with pytest.raises(PolicyRefusedError, match="nobody shows its design"):
            pulling.pull(pushed.repository, out=tmp_path / "lied", require="preregistered")
        assert any("/designs/" in path for _, path, _, _ in middle.requests)


def _only_good(body: bytes) -> bytes:
    document = json.loads(body)
    kept = [row for row in document["designs"] if row["result"]]
    assert len(kept) < len(document["designs"])
    return json.dumps({**document, "designs": kept}).encode()


def test_what_the_registry_does_not_take(registry: RunningRegistry, hospital: Site) -> None:
    file = hospital.make(seed=14)
    planned = plan(file)
    given = begin(file, planned)
    body = at_the_site.beside(file, registered.REGISTRATION).read_bytes()
    digest = embedding.read(file).digest
    path = f"/embhub/v1/designs/{digest}"
    answer = registry.get(path)
    assert answer.json() == {"embedding": digest, "designs": []}
    assert registry.request("POST", path, body=body).status == 401
    reader = registry.add_user(f"r{digest[:6]}", namespace=f"r{digest[:6]}", role="reader")
    assert registry.request("POST", path, body=body, token=reader).status == 403
    other = registry.add_user(f"o{digest[:6]}", namespace=f"o{digest[:6]}")
    assert registry.request("POST", path, body=body, token=other).status == 403, "another's key"
    assert registry.request("POST", f"/embhub/v1/designs/{'0' * 64}", body=body, token=hospital.token).status == 422
    assert registry.request("POST", "/embhub/v1/designs/x", body=body, token=hospital.token).status == 400
    assert registry.request("POST", path, body=b"{}", token=hospital.token).status == 422
    report = run(file, planned)
    registering.end_audit(given, file, report)
    with pytest.raises(RegistryError, match="registered no such design"):
        send(file, registered.RESULT_FILE)
    send(file, registered.REGISTRATION)
    send(file, registered.RESULT_FILE)
    registering.end_audit(given, file, report.model_copy(update={"verdict": "leak-detected"}))
    with pytest.raises(RegistryError, match="another result already"):
        send(file, registered.RESULT_FILE)
    with pytest.raises(ConfigError, match="not the one that was registered"):
        registering.end_audit(given, file, report.model_copy(update={"commitment": "0" * 64}))


def test_a_stale_design_does_not_go_into_a_release(hospital: Site) -> None:
    file = hospital.make(seed=15)
    planned = plan(file)
    given = begin(file, planned)
    registering.end_audit(given, file, run(file, planned))
    signed = publishing.sign(file)  # with the report that `make` left there
    assert release_files.AUDIT_DESIGN not in signed.release.files
    assert release_files.AUDIT_DESIGN not in publishing.push(file, confirm=agree).files, (
        "what was signed goes out as it was signed"
    )


def test_the_number_of_designs_is_bounded(
    registry: RunningRegistry, hospital: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hospital.make(seed=16)
    planned = plan(file)
    begin(file, planned)
    document = json.loads(at_the_site.beside(file, registered.REGISTRATION).read_bytes())
    monkeypatch.setattr(at_registry, "MOST_OPEN", 0)
    with registry.opened() as opened:
        account = auth.authenticate(opened.database.connection(), f"Bearer {hospital.token}")
        assert account is not None
        with pytest.raises(RequestDeniedError) as caught:
            at_registry.take(opened, account, embedding.read(file).digest, document)
    assert caught.value.status == 429
