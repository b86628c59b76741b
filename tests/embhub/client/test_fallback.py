"""Copies that are read while the registry is silent: they serve bytes, and what the registry said stays decided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.publishing import push as publishing
from embhub.client.pulling import fallback, overview
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire.errors import NotFoundError, RegistryFailedError
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError
from embhub.refusals import RollbackError, UnknownSignerError
from embhub.release.demands import PolicyRefusedError
from tests.support import between, designs, hostile
from tests.support.between import World
from tests.support.hostile import Handler, Middleman
from tests.support.releases import (
    REPOSITORY,
    ROOT,
    STRANGER,
    make_embedding,
    make_export,
    make_keyring,
    make_release,
    member,
)


def silent(handler: Handler) -> None:
    handler.send(503, b"{}")


@pytest.fixture
def copy(world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Middleman]:
    """A site with a token at its registry, which is silent, and a copy of the registry at another address."""
    world.site(tmp_path / "site", monkeypatch, warm=False, token=world.token)
    with hostile.stand_between(world.registry.url) as other:
        monkeypatch.setenv("EMBHUB_FALLBACK", other.url)
        middle.lies = {"/": silent}
        yield other


def tokens(registry: hostile.Registry) -> set[str]:
    return {headers.get("authorization", "") for _, _, headers, _ in registry.requests}


def test_a_silent_registrys_release_comes_from_the_copy_without_its_token(
    world: World, middle: Middleman, copy: Middleman, caplog: pytest.LogCaptureFixture
) -> None:
    verified = pulling.pull(REPOSITORY)
    said = next(finding for finding in verified.findings if finding.check == "source")
    assert said.outcome == "warning" and copy.url in said.text and middle.url in said.text
    assert copy.url in caplog.text and verified.version == "1.1.0"
    assert [row.repository for row in pulling.search("twin")] == [between.TWIN]
    assert overview.show(REPOSITORY)["verified"] == "yes"
    assert tokens(copy) == {""} and f"Bearer {world.token}" in tokens(middle)
    with pytest.raises(RegistryFailedError):
        pulling.pull(REPOSITORY, registry=middle.url)  # this one and no other
    copy.requests.clear()
    with pytest.raises(RegistryFailedError):
        publishing.push(from_folder="prostate-cspca")
    assert not copy.requests


def test_a_copy_rolls_nothing_back_and_lifts_no_yank(world: World, middle: Middleman, copy: Middleman) -> None:
    pulling.pull(REPOSITORY)
    copy.lies = {between.INFO: between.named(world.old_commit)}
    with pytest.raises(RollbackError):
        pulling.verify_path(REPOSITORY)
    repository = "radboud/yanked-then-silent"
    Hub(world.registry.url, token=world.token).push(
        make_release(repository=repository, artifact=make_embedding(seed=401)), repository
    )
    body = {"reason": "a fault", "scope": "release"}
    address = f"/embhub/v1/yank/{repository}"
    assert world.registry.request("POST", address, token=world.token, json_body=body).status == 200
    middle.lies = {}
    assert pulling.verify_path(repository).yanked is not None
    middle.lies, copy.lies = {"/": silent}, {between.STATUS: between.withheld}
    with pytest.raises(PolicyRefusedError, match="a fault"):
        pulling.pull(repository, out="yanked")
    assert not Path("yanked").exists()


def test_a_copy_is_asked_for_registered_audits_that_found_a_leak(copy: Middleman) -> None:
    found = pulling.pull(REPOSITORY, require="no-leak")
    leak = designs.register(found.embedding, shift=3.0)
    shown = {"embedding": found.digest, "designs": [leak.row]}
    copy.lies = {"/embhub/v1/designs/": hostile.edited(lambda _: json.dumps(shown).encode())}
    with pytest.raises(PolicyRefusedError, match="leak-detected, by its signed result"):
        pulling.pull(REPOSITORY, out="leaking", require="no-leak")
    with pytest.raises(PolicyRefusedError, match="leak-detected, by its signed result"):
        pulling.verify_path("prostate-cspca", require="no-leak")


def test_another_pinned_registry_does_not_speak_for_the_silent_one(
    copy: Middleman, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.serve() as other:
        other.files = make_release(key=STRANGER, registry="other.example.org").files
        members = [member("radboud", [(STRANGER, "publish")])]
        other.export = make_export(make_keyring(registry="https://other.example.org", members=members))
        roots.add_root(other.url, fingerprint=ROOT.fingerprint)
        assert pulling.pull(REPOSITORY, registry=other.url, out="named").repository == REPOSITORY
        monkeypatch.setenv("EMBHUB_FALLBACK", other.url)
        with pytest.raises(UnknownSignerError):
            pulling.pull(REPOSITORY, out="fallback")
        assert not Path("fallback").exists()


def test_a_registry_that_knows_the_repository_is_believed(
    middle: Middleman, copy: Middleman, monkeypatch: pytest.MonkeyPatch
) -> None:
    middle.lies = {}
    with pytest.raises(NotFoundError):
        pulling.pull(f"{REPOSITORY}@7.0.0")
    assert not copy.requests
    with hostile.serve() as other:
        other.repository = "radboud/elsewhere"
        other.files = make_release(repository=other.repository, artifact=make_embedding(seed=402)).files
        monkeypatch.setenv("EMBHUB_FALLBACK", f"{copy.url}, {other.url}")
        assert pulling.pull(other.repository).repository == other.repository


def test_the_public_hub_as_a_copy_answers_no_question(copy: Middleman, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile.serve() as hub:
        hub.repository = "radboudumc/hub-only"
        hub.files = make_release(repository="radboud/hub-only", artifact=make_embedding(seed=403)).files
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_hub")
        monkeypatch.setenv("EMBHUB_FALLBACK", "hub:radboudumc")
        assert pulling.pull("radboud/hub-only@1.0.0").repository == "radboud/hub-only"
        assert tokens(hub) == {"Bearer hf_of_the_hub"}
        with pytest.raises(PolicyRefusedError, match="did not answer whether it is yanked"):
            pulling.pull("radboud/hub-only", require="not-yanked", out="demanding")


def test_what_a_copy_says_of_yanks_is_not_kept_as_the_registrys_word(
    world: World, middle: Middleman, copy: Middleman
) -> None:
    repository = "radboud/yank-of-a-copy"
    Hub(world.registry.url, token=world.token).push(
        make_release(repository=repository, artifact=make_embedding(seed=404)), repository
    )
    commit = Hub(world.registry.url).fetch(repository)[1]
    middle.lies = {}
    pulling.pull(repository, out="before")
    middle.lies = {"/": silent}
    row = {"revision": commit, "version": "1.0.0", "reason": "an invention", "date": "2026-11-01T00:00:00Z"}
    said = {"repository": repository, "yanked": [{**row, "scope": "release"}], "quarantined": []}
    copy.lies = {between.STATUS: lambda handler: handler.send(200, json.dumps(said).encode())}
    assert pulling.verify_path(repository).yanked is not None
    copy.lies = {}
    assert not [found for found in pulling.verify_path("before").findings if "an invention" in found.text]
    assert pulling.pull(repository, out="after").yanked is None
    aside = {**said, "yanked": [], "quarantined": [{"revision": commit, "version": "1.0.0"}]}
    copy.lies = {between.STATUS: lambda handler: handler.send(200, json.dumps(aside).encode())}
    with pytest.raises(RegistryFailedError):
        pulling.pull(repository, out="aside")


def test_a_copy_that_is_named_and_a_registry_that_is_silent_lift_no_yank(
    world: World, middle: Middleman, copy: Middleman
) -> None:
    repository = "radboud/yanked-then-asked-elsewhere"
    hub = Hub(world.registry.url, token=world.token)
    commit = hub.push(make_release(repository=repository, artifact=make_embedding(seed=405)), repository).commit
    body = {"reason": "a fault", "scope": "release"}
    address = f"/embhub/v1/yank/{repository}"
    assert world.registry.request("POST", address, token=world.token, json_body=body).status == 200
    middle.lies = {}
    assert pulling.pull(f"{repository}@{commit}", out="on-purpose").yanked is not None
    empty = json.dumps({"repository": repository, "yanked": [], "quarantined": []}).encode()
    for lie in (lambda handler: handler.send(200, empty), between.withheld):
        copy.lies = {between.STATUS: lie}
        with pytest.raises(PolicyRefusedError, match="was yanked on"):
            pulling.pull(repository, registry=copy.url, out="named")
        assert pulling.verify_path("on-purpose").yanked is not None
    middle.lies = {between.STATUS: between.withheld}
    with pytest.raises(PolicyRefusedError, match="was yanked on"):
        pulling.pull(repository, out="named")
    assert not Path("named").exists()
    middle.lies = {}
    assert world.registry.request("DELETE", address, token=world.token).status == 200
    assert pulling.pull(repository, out="named").yanked is None and pulling.verify_path("on-purpose").yanked is None
    row = {"revision": commit, "version": "1.0.0", "reason": "an invention", "date": "2026-11-01T00:00:00Z"}
    said = json.dumps({"repository": repository, "yanked": [{**row, "scope": "release"}], "quarantined": []}).encode()
    copy.lies = {between.STATUS: lambda handler: handler.send(200, said)}
    assert pulling.verify_path(repository, registry=copy.url).yanked is not None
    assert pulling.verify_path("named").yanked is None


def test_a_spoiled_copy_hides_no_good_one(copy: Middleman, monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile.serve() as spoiled:
        spoiled.files = make_release(key=STRANGER).files
        monkeypatch.setenv("EMBHUB_FALLBACK", f"{spoiled.url}, {copy.url}")
        assert pulling.pull(REPOSITORY).version == "1.1.0"


@pytest.mark.parametrize("text", ["hub:", "hub:a--b", "hub:a.", "hub:a/b", "example.org", "https://a.example/path"])
def test_what_is_no_copy_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_FALLBACK", text)
    with pytest.raises(ConfigError, match="EMBHUB_FALLBACK"):
        fallback.copies()
