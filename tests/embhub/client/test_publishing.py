"""From a file to the real registry: what is sent, what is refused before anything is, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.client.publishing import push as publishing
from embhub.client.wire.errors import AnswerTooSlowError, NotAllowedError
from embhub.client.wire.hub import Hub
from embhub.errors import ArtifactError, ConfigError, PrivacyError, RegistryError, UsageError, VerificationError
from embhub.formats import safe_yaml
from embhub.ledger import concerned, publications
from embhub.progress import Progress
from embhub.refusals import CardMismatchError, DigestMismatchError, WrongRepositoryError
from embhub.release import at_the_site
from embhub.release import files as release_files
from embhub.site.memory import seen
from embhub.site.signing import keys
from embhub.site.signing.keys import PassphraseRequiredError
from embhub.trust.origin import origin_of
from tests.support.releases import (
    edited_card,
    make_card,
    make_embedding,
    make_release,
    make_report,
    make_sheet,
    record_of,
    replaced,
    resigned,
)  # fmt: skip
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site

NUMBERS = count(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture
def namespace() -> str:
    return f"site{next(NUMBERS)}"


@pytest.fixture
def site(registry: RunningRegistry, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = open_site(registry, tmp_path / "a", namespace=namespace, user=f"{namespace}-user").enter(monkeypatch)
    new_key(registry, namespace=namespace)
    return found


def test_push_signs_sends_everything_and_says_where(site: Site, namespace: str) -> None:
    path = site.make()
    said: list[Progress] = []
    done = publishing.push(path, on_progress=said.append)
    assert done.repository == f"{namespace}/prostate-cspca" and done.version == "1.0.0"
    assert done.url == f"{site.registry}/{done.repository}" and len(done.commit) == 40
    assert at_the_site.beside(path, at_the_site.PUBLISH_BUNDLE).exists()
    release, commit = Hub(site.registry, token=site.token).fetch(done.repository)
    assert commit == done.commit
    assert release.files == at_the_site.read(path).files
    assert said[-1].done == said[-1].total
    sighting = seen.newest(site.registry, done.repository)
    assert sighting and sighting.version == "1.0.0" and sighting.digest == done.digest


def test_push_again_changes_nothing(site: Site) -> None:
    path = site.make()
    first = publishing.push(path)
    assert first.created and publishing.push(path) == replace(first, created=False)


def test_a_release_whose_answer_is_lost_is_in_the_ledger(
    registry: RunningRegistry, site: Site, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be public: an erasure has to find it. What was refused is not."""
    publications.note_published("0" * 64, "somebody/other", "1.0.0")  # the site keeps a ledger
    sent, path = Hub.push, site.make()

    def refuse(*_: Any, on_commit: Callable[[], None], **__: Any) -> None:
        on_commit()
        raise NotAllowedError("refused", "ask")

    def lose(*words: Any, **choices: Any) -> None:
        sent(*words, **choices)
        raise AnswerTooSlowError("no answer", "ask again")

    monkeypatch.setattr(Hub, "push", refuse)
    with pytest.raises(NotAllowedError):
        publishing.push(path)
    assert embedding.read(path).digest not in concerned.published()
    monkeypatch.setattr(Hub, "push", lose)
    with pytest.raises(AnswerTooSlowError):
        publishing.push(path)
    ((name, version, signed_for),) = concerned.published()[embedding.read(path).digest]
    assert name.startswith(f"{namespace}/") and version and signed_for == origin_of(registry.url)


def test_a_new_version_names_the_digest_that_it_replaces(site: Site) -> None:
    first = publishing.push(site.make())
    path = site.make(seed=1, version="1.1.0")
    publishing.sign(path)
    second = publishing.push(path)
    release, _ = Hub(site.registry, token=site.token).fetch(second.repository)
    assert first.digest.encode() in release.publish_bundle.envelope.payload


def test_a_sheet_of_samples_goes_along_and_goes_with_the_next_version(site: Site) -> None:
    sheet, artifact = make_sheet(), make_embedding()
    path = site.make(samples=record_of(sheet, artifact))
    with pytest.raises(UsageError, match="there is no"):
        publishing.push(path)
    at_the_site.beside(path, at_the_site.SHEET).write_bytes(sheet)
    at_the_site.beside(path, at_the_site.SHEET_RECORD).write_bytes(b"{}")  # stays
    done = publishing.push(path)
    assert release_files.SAMPLES in done.files
    hub = Hub(site.registry, token=site.token)
    assert hub.fetch(done.repository)[0].files[release_files.SAMPLES] == sheet
    publishing.sign(site.make(version="1.1.0"))
    publishing.push(path)
    assert release_files.SAMPLES not in hub.fetch(done.repository)[0].files


def test_an_audit_that_a_new_version_lacks_goes(site: Site) -> None:
    done = publishing.push(site.make())
    path = site.make(seed=1, version="1.1.0", audited=False)
    at_the_site.beside(path, at_the_site.AUDIT).unlink()
    publishing.sign(path)
    publishing.push(path)
    release, _ = Hub(site.registry, token=site.token).fetch(done.repository)
    assert release_files.AUDIT not in release.files and release_files.AUDIT_BUNDLE not in release.files


def test_a_dry_run_writes_what_would_go_up_and_another_machine_sends_it(
    site: Site, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Site(site.folder).enter(monkeypatch)
    path = site.make()
    done = publishing.push(path, f"{namespace}/dry", dry_run=True, out=tmp_path / "outbox", registry=site.registry)
    assert not done.url and done.folder
    held = {p.relative_to(tmp_path / "outbox").as_posix(): p.read_bytes() for p in (tmp_path / "outbox").rglob("*.*")}
    assert held == dict(at_the_site.read(path).files)
    Site(tmp_path / "relay", site.registry, site.token).enter(monkeypatch)
    sent = publishing.push(from_folder=tmp_path / "outbox")
    assert sent.repository == f"{namespace}/dry"
    release, _ = Hub(site.registry, token=site.token).fetch(sent.repository)
    assert dict(release.files) == held


def test_the_default_namespace_needs_no_network_once_it_is_set(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    Site(site.folder).enter(monkeypatch)
    monkeypatch.setenv("EMBHUB_NAMESPACE", "radboud")
    assert publishing.sign(site.make(), registry=site.registry).repository == "radboud/prostate-cspca"


def test_without_a_namespace_it_says_how_to_name_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    Site(site.folder).enter(monkeypatch)
    with pytest.raises(ConfigError, match="no namespace"):
        publishing.sign(site.make())


def test_an_incomplete_card_lists_everything_before_any_network(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.make()
    card = at_the_site.beside(path, at_the_site.CARD)
    gone = ("legal_basis", "intended_use", "limitations")
    kept = [line for line in card.read_text().splitlines() if not line.startswith(gone)]
    card.write_text("\n".join(kept) + "\n")
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    with pytest.raises(ArtifactError) as caught:
        publishing.push(path, "radboud/x")
    assert all(f"{name} is missing" in caught.value.message for name in gone)
    assert not at_the_site.beside(path, at_the_site.PUBLISH_BUNDLE).exists()


@pytest.mark.parametrize("what", [at_the_site.CARD, at_the_site.AUDIT, ".safetensors", at_the_site.PUBLISH_BUNDLE])
def test_what_was_edited_after_signing_is_refused_with_the_command_that_signs_anew(site: Site, what: str) -> None:
    path = site.make()
    publishing.sign(path, repository="radboud/x")
    target = at_the_site.beside(path, what)
    data = target.read_bytes()
    edits = {
        at_the_site.CARD: data.replace(b"one scanner", b"none at all"),
        at_the_site.AUDIT: data.replace(b"insufficient", b"sufficient "),
        ".safetensors": site.make("other", seed=9).read_bytes(),
        at_the_site.PUBLISH_BUNDLE: data.replace(b'"sig":"M', b'"sig":"N'),
    }
    assert edits[what] != data
    target.write_bytes(edits[what])
    with pytest.raises(VerificationError) as caught:
        publishing.push(path)
    assert "embhub sign" in caught.value.hint


def test_what_was_signed_here_for_another_repository_is_signed_anew(site: Site, namespace: str) -> None:
    path = site.make()
    publishing.sign(path, repository=f"{namespace}/one")
    assert publishing.push(path, f"{namespace}/two").repository == f"{namespace}/two"


def test_what_was_edited_since_is_not_signed_anew_with_the_name(site: Site, namespace: str) -> None:
    path = site.make()
    publishing.sign(path, repository=f"{namespace}/one")
    path.write_bytes(make_embedding(seed=7).data)
    with pytest.raises(DigestMismatchError):
        publishing.push(path, f"{namespace}/two")


def test_a_folder_that_was_signed_for_another_repository_is_refused(site: Site, namespace: str, tmp_path: Path) -> None:
    publishing.push(site.make(), f"{namespace}/one", dry_run=True, out=tmp_path / "outbox")
    with pytest.raises(WrongRepositoryError):
        publishing.push(None, f"{namespace}/two", from_folder=tmp_path / "outbox")


def test_a_card_edited_in_a_folder_from_elsewhere_is_refused(site: Site, tmp_path: Path) -> None:
    publishing.push(site.make(), dry_run=True, out=tmp_path / "outbox", repository="radboud/x")
    readme = tmp_path / "outbox/README.md"
    readme.write_bytes(readme.read_bytes() + b"and more\n")
    with pytest.raises(CardMismatchError):
        publishing.push(from_folder=tmp_path / "outbox")


def test_personal_data_is_found_before_anything_is_written_or_sent(site: Site, tmp_path: Path) -> None:
    path = site.make(description="Scan of Mr. John Smith, born 1956-03-02.")
    for call in (
        lambda: publishing.sign(path, repository="radboud/x"),
        lambda: publishing.push(path, "radboud/x", dry_run=True, out=tmp_path / "outbox"),
        lambda: publishing.push(path, "radboud/x"),
    ):
        with pytest.raises(PrivacyError, match="description"):
            call()
    assert not at_the_site.beside(path, at_the_site.PUBLISH_BUNDLE).exists() and not (tmp_path / "outbox").exists()


def test_personal_data_that_was_signed_elsewhere_is_not_sent(site: Site, namespace: str, tmp_path: Path) -> None:
    good = make_release(repository=f"{namespace}/x", key=keys.load("default"))
    bad = resigned(replaced(good, card=edited_card(good, limitations="MRN 1234567")), key=keys.load("default"))
    bad.to_folder(tmp_path / "outbox")
    with pytest.raises(PrivacyError, match="limitations"):
        publishing.push(from_folder=tmp_path / "outbox")
    assert not Hub(site.registry).search(namespace)


def test_a_namespace_of_somebody_else_is_refused_by_the_registry(site: Site) -> None:
    with pytest.raises(RegistryError) as caught:
        publishing.push(site.make(), "somebody/x")
    assert caught.value.hint


def test_a_key_that_the_registry_does_not_know_is_refused_by_it(site: Site, namespace: str) -> None:
    keys.generate("fresh")
    with pytest.raises(RegistryError, match="refuses"):
        publishing.push(site.make(), f"{namespace}/y", key="fresh")
    assert not Hub(site.registry, token=site.token).search(namespace)


@pytest.mark.parametrize("token", ["", "hf_emb_" + "x" * 43, "nonsense"])
def test_a_token_that_does_not_count(site: Site, token: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_TOKEN", token)
    with pytest.raises(RegistryError) as caught:
        publishing.push(site.make(), f"{namespace}/z")
    assert not Hub(site.registry).search(f"{namespace}/z")
    assert "embhub login" in str(caught.value)


def test_an_encrypted_key_asks_for_its_passphrase(site: Site) -> None:
    keys.generate("locked", passphrase="open sesame")
    path = site.make()
    with pytest.raises(PassphraseRequiredError):
        publishing.sign(path, repository="radboud/x", key="locked")
    asked = []

    def ask(name: str) -> str:
        asked.append(name)
        return "open sesame"

    assert publishing.sign(path, repository="radboud/x", key="locked", ask_passphrase=ask).wrote
    assert asked == ["locked"]


def test_calls_that_contradict_themselves(site: Site, tmp_path: Path) -> None:
    path = site.make()
    wrongs: tuple[dict[str, Any], ...] = (
        {},
        {"path": path, "from_folder": tmp_path},
        {"path": path, "dry_run": True},
        {"path": path, "out": tmp_path / "x"},
        {"path": path, "repository": "not a name"},
        {"path": site.folder / "nowhere.safetensors"},
        {"from_folder": site.folder / "nowhere"},
    )
    for wrong in wrongs:
        with pytest.raises(UsageError) as caught:
            publishing.push(**wrong)
        assert caught.value.hint


def test_an_outbox_that_is_not_empty_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        publishing.push(site.make(), "radboud/x", dry_run=True, out=tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_release_whose_own_audit_detected_a_leak_is_not_sent_without_a_word(
    site: Site, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = make_embedding()
    path = site.make()
    leaking = make_report(artifact, shift=1.5)
    assert leaking.verdict == "leak-detected"
    path.with_name("prostate-cspca.audit.json").write_bytes(leaking.to_bytes())
    card = make_card(artifact, report=leaking, name="prostate-cspca")
    path.with_name("prostate-cspca.card.yaml").write_bytes(safe_yaml.dump(card))
    hub = Hub(site.registry, token=site.token)
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(PrivacyError, match="says leak-detected"):
        publishing.push(path, confirm=refuse)
    assert "AUC" in asked[0], "the figures are told"
    assert main(["push", str(path)]) == 6, "no terminal: nobody can answer"
    assert "push --yes" in capsys.readouterr().err
    done = publishing.push(path, dry_run=True, out=tmp_path / "outbox")
    assert done.folder, "nothing leaves in a dry run"
    assert main(["push", "--from", str(tmp_path / "outbox")]) == 6
    with pytest.raises(RegistryError):
        hub.fetch(f"{namespace}/prostate-cspca")
    assert main(["push", str(path), "--yes"]) == 0
    assert hub.fetch(f"{namespace}/prostate-cspca")[0].audit == leaking
