"""An auditor of another house countersigns an audit: from the operator's commands to what a reader is told."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.artifact.embedding import Embedding
from embhub.client.member import countersigning
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, RegistryError, UsageError, VerificationError
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.signing import keys
from embhub.trust import statement
from embhub.trust.keyring import Role
from tests.embhub.release.checks.test_mechanism_reports import release_with, report_of
from tests.support import vouching
from tests.support.releases import ORIGIN, OTHER_SITE, make_report
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

REPOSITORY = "radboud/prostate-cspca"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        running.add_key(OTHER_SITE, namespace="lumc")
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sites")


@pytest.fixture
def publisher(registry: RunningRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Radboud, acting; its account and key are made once."""
    return enter(registry, folder, monkeypatch, "radboud", "alice", "publisher", "publish")


@pytest.fixture
def auditor(registry: RunningRegistry, publisher: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Nki, acting."""
    return enter(registry, folder, monkeypatch, "nki", "nora", "auditor", "audit")


def enter(
    registry: RunningRegistry, folder: Path, monkeypatch: pytest.MonkeyPatch,
    namespace: str, user: str, role: str, key_role: Role,
) -> Site:  # fmt: skip
    home, token = folder / user, folder / f"{user}.token"
    if token.exists():
        return Site(home, registry.url, token.read_text()).enter(monkeypatch)
    site = open_site(registry, home, namespace=namespace, user=user, role=role).enter(monkeypatch)
    token.write_text(site.token)
    new_key(registry, namespace=namespace, role=key_role)
    site.trust(registry)
    return site


def published(publisher: Site, monkeypatch: pytest.MonkeyPatch, name: str, *, back: Site, **made: Any) -> str:
    """A release of Radboud's of that name; then `back` acts again."""
    publisher.enter(monkeypatch)
    publishing.push(publisher.make(name, **made))
    back.enter(monkeypatch)
    roots.refresh_roots()
    return f"radboud/{name}"


NKI = release_files.audit_bundle_of("nki")


def send(registry: RunningRegistry, site: Site, repository: str, bundle: bytes, place: str = NKI) -> None:
    """Push the present release with another audit attestation, as a client without our checks would."""
    hub = Hub(registry.url, token=site.token)
    present, commit = hub.fetch(repository)
    files = {**present.files, place: bundle}
    hub.push(Release.from_files(files), repository, onto=commit)


def attestation(
    release: Release, repository: str, *, key: keys.SigningKey, version: str = "1.0.0", digest: str = ""
) -> bytes:
    """What `key` signs of the release's report, or of another one."""
    from embhub.release.checks.consistency import headline
    from embhub.trust import bundle
    from tests.support.releases import NOW

    assert release.audit is not None
    facts: dict[str, Any] = {
        "registry": ORIGIN, "repository": repository, "version": version,
        "headline": headline(release.audit), "created": NOW,
        "report_digest": digest or release_files.digest(release.files[release_files.AUDIT]),
    }  # fmt: skip
    signed = statement.build_audit(release.embedding.digest, **facts)
    return bundle.to_json(statement.sign(signed, key=key))


def test_countersigned_from_end_to_end(
    registry: RunningRegistry, publisher: Site, auditor: Site, folder: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    published(publisher, monkeypatch, "prostate-cspca", back=auditor)
    assert main(["verify", REPOSITORY]) == 0
    assert "insufficient-evidence, consistent" in capsys.readouterr().out
    assert "the figures are consistent" in registry.get(f"/{REPOSITORY}").body.decode()
    _, before = Hub(registry.url).fetch(REPOSITORY)

    assert main(["audit", "--countersign", REPOSITORY]) == UsageError.exit_code, "nobody was asked, so nobody signed"
    assert "--yes" in capsys.readouterr().err
    assert Hub(registry.url).fetch(REPOSITORY)[1] == before
    assert main(["audit", "--countersign", REPOSITORY, "--yes"]) == 0
    said = capsys.readouterr()
    assert "countersigned by nki" in said.out and "vouches" in said.err
    assert "by patient" not in said.err, "this report has no such interval"
    assert "can be invented" in said.err and "on site" in said.err and "not vouched for" in said.err

    commits = registry.get(f"/api/models/{REPOSITORY}/commits/main").json()
    newest, parent = commits[0], commits[1]
    assert newest["title"].startswith("Countersign") and parent["id"] == before
    assert [author["user"] for author in newest["authors"]] == ["nora"]
    old, new = (Hub(registry.url).fetch(REPOSITORY, commit)[0].files for commit in (before, newest["id"]))
    assert {name for name in new if new[name] != old.get(name)} == {NKI} and old.keys() < new.keys()

    reader = Site(folder / "reader", registry.url).enter(monkeypatch)
    reader.trust(registry)
    assert main(["pull", REPOSITORY]) == 0
    assert "insufficient-evidence, countersigned by nki" in capsys.readouterr().out
    assert main(["show", "prostate-cspca"]) == 0
    assert "countersigned by nki" in capsys.readouterr().out
    assert main(["verify", "prostate-cspca", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit_status"] == "countersigned"
    page = registry.get(f"/{REPOSITORY}").body.decode()
    assert "Countersigned by" in page and "the figures are consistent" not in page


@pytest.mark.thorough
def test_a_folder_is_countersigned_without_a_network_and_pushed_later(
    registry: RunningRegistry, publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "by-folder", back=auditor)
    pulling.pull(repository, out="by-folder")
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    assert main(["audit", "--countersign", "by-folder", "--yes"]) == 0
    assert pulling.verify_path("by-folder").audit_status == "countersigned"
    monkeypatch.setenv("EMBHUB_REGISTRY", registry.url)
    assert pulling.verify_path(repository).audit_status == "consistent"
    assert main(["push", "--from", "by-folder"]) == 0
    assert pulling.verify_path(repository).audit_in_words() == "insufficient-evidence, countersigned by nki"


@pytest.mark.thorough
def test_on_a_terminal_a_person_is_asked(
    publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    repository = published(publisher, monkeypatch, "asked", back=auditor)
    for answer, code, status in (("n\n", UsageError.exit_code, "consistent"), ("y\n", 0, "countersigned")):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        assert main(["audit", "--countersign", repository]) == code
        assert "Sign this?" in (said := capsys.readouterr()).err and "Sign" not in said.out
        assert pulling.verify_path(repository).audit_status == status


@pytest.mark.thorough
def test_an_auditors_own_report_where_the_release_has_none(
    registry: RunningRegistry, publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    repository = published(publisher, monkeypatch, "unaudited", back=auditor, audited=False)
    with pytest.raises(UsageError, match="no audit report"):
        countersigning.prepare(repository)
    artifact = pulling.fetch(repository).release.embedding
    report = make_report(artifact, seed=9)
    report = report.model_copy(update={"commitment": "c" * 64})
    Path("mine.json").write_bytes(report.to_bytes())
    assert main(["audit", "--countersign", repository, "--audit", "mine.json", "--yes"]) == 0
    said = capsys.readouterr().err
    assert "how often it was tried" in said and "commitment cccc" in said, "what nobody can compute again is named"
    vouching.begin(registry)
    vouching.rely(Path("home"))
    verified = pulling.verify_path(repository, policy="strict")
    assert verified.audit_status == "countersigned" and verified.report is not None
    assert verified.report.to_bytes() == Path("mine.json").read_bytes()
    assert countersigning.prepare(repository).report == verified.report, "it may sign its own anew"


def test_another_report_never_takes_the_place_of_a_signed_one(
    publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "audited", back=auditor)
    artifact = pulling.fetch(repository).release.embedding
    Path("mine.json").write_bytes(make_report(artifact, seed=9).to_bytes())
    pulling.pull(repository, out="audited")
    before = {path: path.read_bytes() for path in Path("audited").rglob("*.*")}
    draft = countersigning.prepare("audited", audit="mine.json")
    assert draft.beside and countersigning.countersign(draft).folder == "audited"
    assert {path: path.read_bytes() for path in before} == before, "a stick carries both"
    assert [audit.namespace for audit in pulling.verify_path("audited").others] == ["nki"]
    assert countersigning.prepare(repository, audit="mine.json").beside
    Path("other.json").write_bytes(make_report(publisher_artifact(), seed=9).to_bytes())
    unaudited = published(publisher, monkeypatch, "unaudited-too", back=auditor, audited=False)
    with pytest.raises(VerificationError, match="another embedding"):
        countersigning.prepare(unaudited, audit="other.json")
    edited = make_report(artifact).model_copy(update={"verdict": "no-leak-detected"})
    Path("edited.json").write_bytes(edited.to_bytes())
    with pytest.raises(VerificationError, match="contradicts itself"):
        countersigning.prepare(unaudited, audit="edited.json")


@pytest.mark.thorough
def test_a_report_of_ones_own_stands_beside_the_one_that_was_signed_along(
    registry: RunningRegistry, publisher: Site, auditor: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Bytes of its own: the publisher audited those of the other tests under several names, perhaps within one second.
    repository = published(publisher, monkeypatch, "beside", back=auditor, seed=3)
    release, _ = Hub(registry.url).fetch(repository)
    artifact = release.embedding
    Path("leak.json").write_bytes(make_report(artifact, seed=9, shift=3.0).to_bytes())
    assert main(["audit", "--countersign", repository, "--audit", "leak.json", "--yes"]) == 0
    after, _ = Hub(registry.url).fetch(repository)
    assert {**after.files, NKI: b""} == {**release.files, NKI: b""}, "no file of the release changed"
    verified = pulling.verify_path(repository)
    assert [(audit.namespace, audit.verdict) for audit in verified.others] == [("nki", "leak-detected")]
    assert verified.audit_status == "consistent"
    assert registry.get(f"/{repository}?format=json").json()["verdict"] == "leak-detected"
    body = json.loads(attestation(release, repository, key=keys.load()))
    other = json.loads(attestation(release, repository, key=keys.load(), version="9.9.9"))
    shouted = json.loads(attestation(release, repository.replace("/beside", "/Beside"), key=keys.load()))
    address = f"/embhub/v1/audits/{artifact.digest}"
    tokens = {
        "stranger": registry.add_user("sam", namespace="lumc"), "colleague": registry.add_user("cy", namespace="nki"),
        "other auditor": registry.add_user("ozzy", namespace="ozzies", role="auditor"),
    }  # fmt: skip
    assert registry.request("POST", address, json_body=body).status == 401
    with registry.opened() as opened:
        from embhub_registry.operation import administration

        tokens["reading token"] = str(administration.new_token(opened, "nora", scope="read")["token"])
    for token in (publisher.token, *tokens.values()):
        assert registry.request("POST", address, token=token, json_body=body).status == 403
    for document, status in ((other, 404), (shouted, 404), ({}, 422), ({**body, "x": 1}, 422)):
        answer = registry.request("POST", address, token=auditor.token, json_body=document)
        assert answer.status == status, answer.body
    elsewhere = f"/embhub/v1/audits/{'0' * 64}"
    assert registry.request("POST", elsewhere, token=auditor.token, json_body=body).status == 422
    assert registry.request("POST", address, token=auditor.token, json_body=body).status == 200


def publisher_artifact() -> Embedding:
    from tests.support.releases import make_embedding

    return make_embedding(seed=77)


def test_a_report_about_canaries_says_so(
    registry: RunningRegistry, publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from embhub.release import signing
    from tests.support.claims import make_claim
    from tests.support.releases import NOW, make_embedding

    publisher.enter(monkeypatch)
    files = release_with(report_of(make_embedding(privacy=make_claim())))
    release = signing.sign(
        Release.from_files(files), registry=ORIGIN, repository="radboud/private", key=keys.load(), now=NOW
    )
    Hub(registry.url, token=publisher.token).push(release, "radboud/private")
    auditor.enter(monkeypatch)
    assert main(["audit", "--countersign", "radboud/private", "--yes"]) == 0
    said = capsys.readouterr()
    assert "canaries" in said.err and "the file itself was not attacked" in said.err
    assert pulling.verify_path("radboud/private").audit_status == "countersigned"


def test_who_may_not_countersign_is_told_before_anything_is_signed(
    registry: RunningRegistry, publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "whose-key", back=auditor)
    keys.generate("unknown")
    with pytest.raises(ConfigError, match="does not know") as caught:
        countersigning.prepare(repository, key="unknown")
    assert "role audit" in caught.value.hint
    new_key(registry, namespace="nki", name="publishing", role="publish")
    new_key(registry, namespace="radboud", name="inside", role="audit")
    new_key(registry, namespace="nki", name="old", role="audit")
    registry.run("key", "revoke", keys.load("old").fingerprint, "--reason", "lost")
    for name, why in (("publishing", "no auditor role"), ("inside", "its own audit"), ("old", "out of use")):
        with pytest.raises(ConfigError, match=why):
            countersigning.prepare(repository, key=name)
    publisher.enter(monkeypatch)
    with pytest.raises(ConfigError, match="no auditor role"):
        countersigning.prepare(repository)
    countersigning.countersign(entered(auditor, monkeypatch, repository))
    new_key(registry, namespace="umcu", name="umcu", role="audit")
    assert countersigning.prepare(repository, key="umcu").auditor.namespace == "umcu", "one auditor blocks no other"


def entered(site: Site, monkeypatch: pytest.MonkeyPatch, repository: str) -> countersigning.Draft:
    site.enter(monkeypatch)
    return countersigning.prepare(repository)


@pytest.mark.thorough
def test_a_release_that_moved_on_meanwhile_is_not_countersigned(
    publisher: Site, auditor: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "moving", back=auditor)
    draft = countersigning.prepare(repository)
    publisher.enter(monkeypatch)
    again = publisher.make("moving", seed=3, version="1.1.0")
    publishing.sign(again)
    publishing.push(again)
    auditor.enter(monkeypatch)
    with pytest.raises(RegistryError, match="somebody else changed"):
        countersigning.countersign(draft)


def test_the_registry_takes_a_countersignature_from_an_auditor_alone(
    registry: RunningRegistry, publisher: Site, auditor: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "attacked", back=auditor)
    release, key = Hub(registry.url).fetch(repository)[0], keys.load()
    other = published(publisher, monkeypatch, "elsewhere", back=auditor)
    reader = Site(folder, registry.url, registry.add_user("rob", namespace="nki", role="reader"))
    elsewhere = Site(folder, registry.url, registry.add_user("leo", namespace="lumc"))
    good = attestation(release, repository, key=key)
    refusals = [
        (reader, good, "may not"),
        (elsewhere, good, "may not"),
        (auditor, attestation(release, repository, key=keys.generate("nobody")), "unknown-signer"),
        (auditor, attestation(release, repository, key=OTHER_SITE), "wrong-namespace"),
        (auditor, attestation(release, repository, key=key, version="1.0.1"), "audit-mismatch"),
        (auditor, attestation(release, other, key=key), "audit-mismatch"),
    ]
    for sender, bundle, why in refusals:
        with pytest.raises(RegistryError, match=why):
            send(registry, sender, repository, bundle)
        assert pulling.verify_path(repository).audit_status == "consistent"
    send(registry, auditor, repository, good)
    assert pulling.verify_path(repository).audit_status == "countersigned"
    publisher.enter(monkeypatch)
    with pytest.raises(RegistryError, match="wrong-namespace"):
        send(registry, publisher, repository, attestation(release, repository, key=keys.load()))


def test_an_auditor_of_the_publishers_own_house_never_countersigns(
    registry: RunningRegistry, publisher: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = published(publisher, monkeypatch, "in-house", back=publisher)
    token = registry.add_user("ingrid", namespace="radboud", role="auditor")
    new_key(registry, namespace="radboud", name="in-house", role="audit")
    release = Hub(registry.url).fetch(repository)[0]
    bundle = attestation(release, repository, key=keys.load("in-house"))
    inside = Site(folder, registry.url, token)
    send(registry, inside, repository, bundle, release_files.AUDIT_BUNDLE)
    with pytest.raises(RegistryError, match="may not change"):
        send(registry, inside, repository, bundle, NKI)
    assert pulling.verify_path(repository).audit_status == "consistent"
    page = registry.get(f"/{repository}").body.decode()
    assert "Countersigned by" not in page and "the figures are consistent" in page


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--countersign", "a/b", "--suite", "standard"], "--suite"),
        (["--countersign", "a/b", "--out", "x.json"], "--out"),
        (["a.safetensors", "--yes"], "--countersign"),
        (["a.safetensors", "--audit", "mine.json"], "--countersign"),
        (["--countersign", "nothing.safetensors", "--yes"], "repository or a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_of_the_one_and_the_other_do_not_mix(
    words: list[str], why: str, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *words]) == UsageError.exit_code
    assert why in capsys.readouterr().err
