"""An auditor's word hangs on the bytes: no new version, no other auditor and no silence of a registry makes it go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.pulling import pull as pulling
from embhub.client.wire.hub import Hub
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from tests.support import hostile
from tests.support.hostile import Middleman
from tests.support.quick import quick
from tests.support.releases import AUDITOR, NOW, ORIGIN, SITE, make_embedding, make_key, make_release, make_report
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

FRIEND = make_key("friendly auditor")
AUDITS = "/embhub/v1/audits/"


@dataclass(frozen=True)
class Hall:
    """A registry with two auditors, nki and friends, and the tokens of all; `middle` stands in front of it."""

    registry: RunningRegistry
    middle: Middleman
    alice: str
    nora: str
    otto: str

    def push(self, repository: str, release: Release, token: str = "") -> str:
        return Hub(self.registry.url, token=token or self.alice).push(release, repository).commit

    def attest(self, repository: str, key: SigningKey, token: str, *, shift: float) -> str:
        """An auditor's own report on the newest release, sent by that auditor."""
        hub = Hub(self.registry.url, token=token)
        release, commit = hub.fetch(repository)
        return hub.push(attested(release, repository, key, shift=shift), repository, onto=commit).commit


NOBODY = make_key("nobody")
PLACES = {AUDITOR: "nki", FRIEND: "friends", NOBODY: "nki"}


def attested(release: Release, repository: str, key: SigningKey, *, shift: float) -> Release:
    report = make_report(release.embedding, shift=shift)
    bundle = signing.attest_audit(
        report, numbers=release.embedding.numbers, report_digest=release_files.digest(report.to_bytes()),
        registry=ORIGIN, repository=repository, version=release.card.version,
        key=key, now=NOW,
    )  # fmt: skip
    brought = {} if release_files.AUDIT in release.files else {release_files.AUDIT: report.to_bytes()}
    return Release.from_files({**release.files, **brought, release_files.audit_bundle_of(PLACES[key]): bundle})


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with (
        running_registry(tmp_path_factory.mktemp("hub")) as registry,
        hostile.stand_between(registry.url) as middle,
    ):
        registry.add_key(SITE, namespace="radboud")
        registry.add_key(AUDITOR, namespace="nki", role="audit")
        registry.add_key(FRIEND, namespace="friends", role="audit")
        yield Hall(
            registry, middle,
            alice=registry.add_user("alice", namespace="radboud"),
            nora=registry.add_user("nora", namespace="nki", role="auditor"),
            otto=registry.add_user("otto", namespace="friends", role="auditor"),
        )  # fmt: skip


@pytest.fixture
def reader(hall: Hall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))
    site = Site(tmp_path / "reader", hall.middle.url).enter(monkeypatch)
    from embhub.client.trusted import roots

    roots.add_root(hall.middle.url, fingerprint=hall.registry.root_fingerprint)
    yield site
    hall.middle.lies = {}


def bare(repository: str, *, seed: int, version: str = "1.0.0") -> Release:
    """A release without an audit."""
    return make_release(
        repository=repository, artifact=make_embedding(seed=seed), version=version, audited=False,
        name=repository.partition("/")[2],
    )  # fmt: skip


def test_the_same_numbers_under_another_header_show_the_leak(hall: Hall, reader: Site) -> None:
    """And no good verdict: it may rest on what the header says."""
    leaky, washed = "radboud/leaky-numbers", "radboud/washed-numbers"
    hall.push(leaky, bare(leaky, seed=41))
    hall.attest(leaky, AUDITOR, hall.nora, shift=3.0)
    hall.attest(leaky, FRIEND, hall.otto, shift=0.0)
    other = make_embedding(seed=41, training={"steps": 201, "learning_rate": 0.005})
    same = make_release(repository=washed, artifact=other, audited=False, name="washed-numbers")
    assert same.embedding.digest != make_embedding(seed=41).digest
    hall.push(washed, same)

    shown = page(hall, washed)
    assert (shown["verdict"], shown["auditors"]) == ("leak-detected", ["Nki"])
    assert row(hall, washed)["audit"] == "leak-detected"
    pulled = pulling.pull(washed)
    assert [(audit.namespace, audit.verdict) for audit in pulled.others] == [("nki", "leak-detected")]
    with pytest.raises(PolicyRefusedError, match="nki"):
        pulling.pull(washed, require="no-leak", out="strict")


def page(hall: Hall, repository: str) -> dict[str, object]:
    found = hall.registry.get(f"/{repository}?format=json").json()
    assert isinstance(found, dict)
    return found


def row(hall: Hall, repository: str) -> dict[str, object]:
    items = hall.registry.get("/?format=json").json()["items"]
    (found,) = [item["release"] for item in items if item["id"] == repository]
    assert isinstance(found, dict)
    return found


def test_the_same_bytes_as_a_new_version_still_show_the_leak(
    hall: Hall, reader: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = "radboud/unaudited"
    hall.push(repository, bare(repository, seed=11))
    hall.attest(repository, AUDITOR, hall.nora, shift=3.0)
    assert page(hall, repository)["verdict"] == "leak-detected"
    hall.push(repository, bare(repository, seed=11, version="1.0.1"))
    elsewhere = "radboud/another-name"
    hall.push(elsewhere, bare(elsewhere, seed=11))

    for name in (repository, elsewhere):
        shown = page(hall, name)
        assert (shown["verdict"], shown["confirmation"], shown["auditors"]) == (
            "leak-detected",
            "countersigned",
            ["Nki"],
        )
        assert shown["audits"] == [
            {"namespace": "nki", "name": "Nki", "own": False, "verdict": "leak-detected", "repository": repository,
             "version": "1.0.0", "date": "2026-11-20T10:30:00Z"}
        ]  # fmt: skip
        assert (row(hall, name)["audit"], row(hall, name)["auditors"]) == ("leak-detected", ["Nki"])
        text = hall.registry.get(f"/{name}").body.decode()
        assert "leak detected, countersigned by Nki" in text and "No audit was published" not in text
        assert main(["pull", name]) == 0
        assert "nki, an independent auditor, attested leak-detected on these bytes" in capsys.readouterr().out
        assert main(["show", name]) == 0
        assert "leak-detected" in capsys.readouterr().out
        assert main(["verify", name, "--policy", "strict"]) == main(["verify", name, "--require", "no-leak"]) == 8
    found = hall.registry.get("/?audit=leak-detected&confirmation=countersigned&format=json").json()
    assert {repository, elsewhere} <= {item["id"] for item in found["items"]}
    assert main(["search", "another-name"]) == 0
    assert "leak-detected, countersigned by nki" in capsys.readouterr().out


def test_other_bytes_start_afresh(hall: Hall) -> None:
    repository = "radboud/mended"
    hall.push(repository, bare(repository, seed=12))
    hall.attest(repository, AUDITOR, hall.nora, shift=3.0)
    hall.push(repository, bare(repository, seed=13, version="1.1.0"))
    assert page(hall, repository)["verdict"] == "not-audited" and row(hall, repository)["audit"] == "not-audited"


def test_a_friendly_auditor_blocks_no_other_and_hides_no_other(hall: Hall, reader: Site) -> None:
    repository = "radboud/slot"
    hall.push(repository, bare(repository, seed=14))
    hall.attest(repository, FRIEND, hall.otto, shift=0.0)
    assert pulling.pull(repository).audit_in_words() == "insufficient-evidence, countersigned by friends"
    hall.attest(repository, AUDITOR, hall.nora, shift=3.0)
    assert page(hall, repository)["auditors"] == ["Nki"]
    hall.attest(repository, FRIEND, hall.otto, shift=0.0)
    shown = page(hall, repository)
    assert (shown["verdict"], shown["auditors"]) == ("leak-detected", ["Nki"])
    assert [audit["namespace"] for audit in shown["audits"]] == ["nki", "friends"]  # type: ignore[attr-defined]  # JSON
    verified = pulling.pull(repository)
    assert [(audit.namespace, audit.verdict) for audit in verified.others] == [("nki", "leak-detected")]
    assert not Path("slot/earlier-audits").exists(), "this folder never held the other report"
    with pytest.raises(PolicyRefusedError, match="nki"):
        pulling.pull(repository, require="no-leak", out="strict")
    with pytest.raises(Exception, match="audit-kept"):
        hall.push(repository, bare(repository, seed=14))


def test_a_site_misses_an_audit_that_a_registry_stops_showing(
    hall: Hall, reader: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = "radboud/hidden"
    first = hall.push(repository, bare(repository, seed=15))
    hall.attest(repository, AUDITOR, hall.nora, shift=3.0)
    assert pulling.pull(repository).audit_in_words() == "leak-detected, countersigned by nki"
    report = Path("hidden", release_files.AUDIT).read_bytes()

    def older(handler: hostile.Handler) -> None:
        """The registry moves `main` one commit back, and forgets the audit."""
        answer = hall.registry.get(f"/api/models/{repository}/revision/{first}?blobs=true")
        handler.send(200, answer.body)

    hall.middle.lies = {
        f"/api/models/{repository}": older,
        AUDITS: lambda handler: handler.send(200, json.dumps({"embedding": "0" * 64, "audits": []}).encode()),
    }
    capsys.readouterr()
    assert main(["pull", repository]) == 0
    said = capsys.readouterr().out
    assert "nki" in said and "seen here before, and not shown any more" in said
    assert Path("hidden", release_files.AUDIT).read_bytes() == report, "it is not deleted from the folder"
    assert main(["verify", "hidden"]) == 0
    assert "leak-detected, countersigned by nki" in capsys.readouterr().out
    for words in (["--policy", "strict"], ["--require", "countersigned"], ["--require", "no-leak"]):
        assert main(["pull", repository, "--out", "fresh", *words]) == 8
    assert not Path("fresh").exists()
    assert main(["pull", repository, "--out", "fresh"]) == 0
    assert main(["verify", "fresh", "--require", "no-leak"]) == 8, "a folder is judged by what was seen, too"


def test_an_audit_of_an_earlier_version_is_kept_beside_the_new_one(hall: Hall, reader: Site) -> None:
    repository = "radboud/kept"
    hall.push(repository, bare(repository, seed=16))
    hall.attest(repository, AUDITOR, hall.nora, shift=3.0)
    pulling.pull(repository)
    report = Path("kept", release_files.AUDIT).read_bytes()
    hall.push(repository, bare(repository, seed=16, version="1.1.0"))
    verified = pulling.pull(repository)
    assert not Path("kept", release_files.AUDIT).exists()
    (kept,) = [path for path in Path("kept/earlier-audits").iterdir() if not path.name.endswith(".sigstore.json")]
    assert kept.read_bytes() == report and any(kept.name in finding.text for finding in verified.findings)
    assert pulling.verify_path("kept").version == "1.1.0"


def test_what_a_registry_invents_about_audits_is_left_out(hall: Hall, reader: Site) -> None:
    repository = "radboud/honest"
    hall.push(repository, bare(repository, seed=17))
    release, _ = Hub(hall.registry.url).fetch(repository)
    stranger = attested(release, repository, NOBODY, shift=3.0).files[release_files.audit_bundle_of("nki")]
    foreign = attested(bare(repository, seed=18), repository, AUDITOR, shift=3.0).files[
        release_files.audit_bundle_of("nki")
    ]
    genuine = json.loads(attested(release, repository, AUDITOR, shift=3.0).files[release_files.audit_bundle_of("nki")])
    genuine["dsseEnvelope"]["signatures"][0]["sig"] = json.loads(foreign)["dsseEnvelope"]["signatures"][0]["sig"]
    rows = [{"bundle": json.loads(stranger)}, {"bundle": json.loads(foreign)}, {"bundle": genuine}]
    document = {"embedding": release.embedding.digest, "audits": rows}
    hall.middle.lies = {AUDITS: lambda handler: handler.send(200, json.dumps(document).encode())}
    verified = pulling.pull(repository)
    assert verified.others == () and verified.unanswered == frozenset()
    assert any("do not verify: 3" in finding.text for finding in verified.findings)


@pytest.mark.parametrize(
    "body", quick([b"<html>"], thorough=[b"", b"[]", b'{"embedding": "x", "audits": []}', b'{"audits": {}}'])
)
def test_nonsense_about_audits_meets_no_demand(hall: Hall, reader: Site, body: bytes) -> None:
    repository = "radboud/silent"
    try:
        hall.push(repository, bare(repository, seed=19))
    except Exception as error:  # noqa: BLE001  # pushed by an earlier turn of this test
        assert "rollback" in str(error) or "audit" in str(error)
    hall.middle.lies = {AUDITS: lambda handler: handler.send(200, body)}
    verified = pulling.verify_path(repository)
    assert verified.unanswered == {"audits"}
    with pytest.raises(PolicyRefusedError):
        pulling.verify_path(repository, require="no-leak")


def test_who_publishes_the_same_bytes_speaks_for_their_own_release_alone(hall: Hall, reader: Site) -> None:
    """Nobody smears another's release by a self-made audit of its bytes."""
    mallory = make_key("mallory")
    hall.registry.add_key(mallory, namespace="mallory")
    token = hall.registry.add_user("mallory", namespace="mallory")
    victim, smear = "radboud/victim", "mallory/smear"
    hall.push(victim, bare(victim, seed=20))
    from tests.support.showroom import make_release as made

    hall.push(smear, made(smear, seed=20, shift=3.0, key=mallory, name="smear", publisher="Mallory"), token)
    assert page(hall, smear)["verdict"] == "leak-detected" and page(hall, smear)["confirmation"] == "self-declared"
    assert page(hall, victim)["verdict"] == "not-audited"
    assert pulling.pull(victim).others == ()


def test_show_names_the_signer_before_what_the_card_says(
    hall: Hall, reader: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = make_key("evil")
    hall.registry.add_key(evil, namespace="evil")
    token = hall.registry.add_user("evil", namespace="evil")
    release = make_release(
        repository="evil/prostate", artifact=make_embedding(seed=21), key=evil, publisher="Radboud, Nijmegen"
    )
    hall.push("evil/prostate", release, token)
    assert main(["show", "evil/prostate"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("verified") and "Evil (namespace evil)" in lines[1] and evil.fingerprint in lines[1]
    assert "self-declared" in said and "another publisher than the keyring: 'Radboud, Nijmegen'" in said
    assert main(["show", "evil/prostate", "--json"]) == 0
    assert "namespace evil" in json.loads(capsys.readouterr().out)["signed_by"]
    assert main(["verify", "evil/prostate"]) == 0
    assert "the card gives 'Radboud, Nijmegen' as publisher" in capsys.readouterr().out
    listed = hall.registry.get("/?format=json").json()["items"]
    (item,) = [item for item in listed if item["id"] == "evil/prostate"]
    assert (item["member"], item["misnamed"], item["release"]["confirmation"]) == ("Evil", True, "self-declared")
    text = hall.registry.get("/evil/prostate").body.decode()
    assert "a different publisher than the keyring" in text and "self-declared" in text
    assert "signed by Evil" in hall.registry.get("/").body.decode()
