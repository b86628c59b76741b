"""A release on the public Hub: what may go there, that its bytes stay as signed, and which token goes where.

The Hub is played by a second registry, which speaks its wire, asked by the stock client through a middleman who writes
down every request. Both registries are on this machine, so their origin is the same, and the second one admits what
was signed for the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.__main__ import main
from embhub.client.publishing import hub_publishing
from embhub.client.publishing import push as publishing
from embhub.client.pulling import overview, public_hub
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.client.wire import visibility
from embhub.client.wire.errors import (
    NotAllowedError,
    NotFoundError,
    RedirectedElsewhereError,
    UnreachableError,
    VisibilityError,
)
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, EmbhubError, PrivacyError, RegistryError, UsageError
from embhub.ledger import publications
from embhub.ledger.books import open_books
from embhub.project import how_to_install
from embhub.refusals import AnotherReleaseError, ReleaseRefusedError, UnsignedError
from embhub.release import files as release_files
from embhub.release.demands import PolicyRefusedError
from tests.support import between, hostile
from tests.support.between import World
from tests.support.hostile import Handler, Middleman
from tests.support.releases import SITE, make_embedding, make_release
from tests.support.servers import RunningRegistry, free_port, running_registry
from tests.support.sites import Site, new_key

OF_THE_HUB = "hf_a_token_of_the_hub"


@dataclass(frozen=True)
class Stage:
    """The registry with its own middleman, the Hub behind another one, and the token of an account of the Hub."""

    world: World
    hub: RunningRegistry
    middle: Middleman
    token: str

    def publish(self, name: str, seed: int, *, on_hub: bool = False, visible_to: str = "", **release: Any) -> str:
        """A release of its own bytes at the registry, and by our own client on the Hub; returns `radboud/NAME`."""
        repository = f"radboud/{name}"
        made = make_release(repository=repository, artifact=make_embedding(seed=seed), **release)
        Hub(self.world.registry.url, token=self.world.token).push(made, repository, visible_to=visible_to)
        if on_hub:
            Hub(self.hub.url, token=self.token).push(made, repository)
        return repository

    def headers(self, liar: hostile.Registry) -> set[str]:
        """Every Authorization header that reached somebody."""
        return {sent.get("Authorization", "") or sent.get("authorization", "") for _, _, sent, _ in liar.requests}


@pytest.fixture(scope="module")
def opened(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_registry(tmp_path_factory.mktemp("hub")) as hub, hostile.stand_between(hub.url) as middle:
        hub.add_key(SITE, namespace="radboud")
        yield Stage(world, hub, middle, hub.add_user("radboud-at-the-hub", namespace="radboud"))


@pytest.fixture
def stage(opened: Stage, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A site that reaches the registry, and the Hub, each through a middleman who has not lied yet."""
    Site(tmp_path / "site", middle.url, opened.world.token).enter(monkeypatch)
    roots.add_root(middle.url, fingerprint=opened.world.registry.root_fingerprint)
    monkeypatch.setenv("HF_ENDPOINT", opened.middle.url)
    monkeypatch.setenv("HF_TOKEN", opened.token)
    middle.requests.clear()
    yield opened
    opened.middle.lies = {}
    opened.middle.requests.clear()


def agree(_: str) -> bool:
    return True


def publish(target: str | Path, **choices: Any) -> hub_publishing.PublishedOnHub:
    """To the Hub under the name that the release was signed for, which the second registry asks for."""
    name = choices.pop("to", f"hub:{str(target).partition('@')[0]}")
    return hub_publishing.publish(target, to=name, **{"confirm": agree, **choices})


def test_the_hub_holds_the_signed_bytes_and_each_token_goes_to_its_own_host(
    stage: Stage, middle: Middleman, tmp_path: Path
) -> None:
    repository = stage.publish("plain", 1301)
    said: list[str] = []
    done = publish(f"{repository}@1.0.0", on_note=said.append)
    assert done.created and done.visibility == "public" and done.hub == repository
    assert any("admits anything" in line for line in said) and any("no yank, quarantine" in line for line in said)

    signed, _ = Hub(stage.world.registry.url).fetch(repository)
    held, commit = Hub(stage.hub.url).fetch(repository)
    assert commit == done.commit
    proofs = {name for name in held.files if release_files.is_log_proof(name)}
    assert {name: data for name, data in held.files.items() if name not in proofs} == dict(signed.files)
    assert proofs, "the proof of the registry's log goes along as a file"

    assert stage.headers(stage.middle) - {""} == {f"Bearer {stage.token}"}
    assert stage.headers(middle) - {""} == {f"Bearer {stage.world.token}"}

    again = publish(repository)
    assert not again.created and again.commit == done.commit


def test_pull_from_the_hub_by_the_pinned_keyring_and_by_nobody_elses(
    stage: Stage, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = stage.publish("pulled", 1302)
    publish(repository)
    for liar in (middle, stage.middle):
        liar.requests.clear()
    assert main(["pull", f"hub:{repository}", "--out", "got"]) == 0
    assert main(["verify", "got", "--require", "no-leak,not-yanked"]) == 0
    assert not middle.requests, "the registry was not asked"
    assert stage.headers(stage.middle) == {f"Bearer {stage.token}"}
    assert overview.show(f"hub:{repository}")["verified"] == "yes"
    verified = pulling.verify_path(f"hub:{repository}")
    assert verified.log_index is not None and verified.repository == repository
    found = next(finding for finding in verified.findings if finding.check == "repository")
    assert found.outcome == "note" and f"hub:{repository}" in found.text

    Site(tmp_path / "stranger", "", "").enter(monkeypatch)
    assert main(["pull", f"hub:{repository}", "--out", "nothing"]) == 7  # no registry is trusted at all
    (tmp_path / "other").mkdir()
    roots.add_root(stage.hub.url, fingerprint=stage.hub.root_fingerprint, namespaces="lumc")
    assert main(["pull", f"hub:{repository}", "--out", "nothing"]) == 4
    assert not Path("nothing").exists()


def test_what_was_tampered_with_on_the_hub_is_refused(stage: Stage) -> None:
    repository = stage.publish("tampered", 303, on_hub=True, version="1.1.0")
    for part, lie in {
        between.EMBEDDING: hostile.edited(between.last_bit),
        between.CARD: hostile.edited(lambda body: body.replace(b"one scanner", b"no limits")),
        between.AUDIT: between.withheld,
        between.PUBLISHED: hostile.edited(between.forged_statement),
        between.INFO: between.unlisted("audit.json", "audit.sigstore.json"),
    }.items():
        stage.middle.lies = {part: lie}
        with pytest.raises((ReleaseRefusedError, RegistryError)):
            pulling.pull(f"hub:{repository}")
        assert not Path("tampered").exists(), part
    stage.middle.lies = {between.INFO: between.listed(size=2_000_000_000)}
    with pytest.raises(RegistryError, match="more than"):
        pulling.pull(f"hub:{repository}")


def test_unsigned_leaking_unpublished_and_changed_ones_never_reach_the_hub(stage: Stage, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    file = site.make("prostate-new", seed=304)
    unknown = make_release(repository="radboud/unknown", artifact=make_embedding(seed=305))
    unknown.to_folder("unknown")
    repository = stage.publish("changed", 306)
    make_release(repository=repository, artifact=make_embedding(seed=306), limitations="none").to_folder("changed")
    unaudited = stage.publish("unaudited", 307, audited=False)
    refusals: list[tuple[str | Path, type[EmbhubError], str]] = [
        (file, UnsignedError, "not signed"),
        (between.LEAKING, PolicyRefusedError, "leak-detected"),
        (unaudited, PolicyRefusedError, "no audit"),
        (Path("unknown"), NotFoundError, "does not serve radboud/unknown@1.0.0"),
        (Path("changed"), AnotherReleaseError, "not what the registry serves"),
    ]
    for target, error, words in refusals:
        with pytest.raises(error, match=words):
            publish(target, to="hub")
    with pytest.raises(PrivacyError, match="nobody agreed"):
        publish(repository, confirm=None)
    reader = stage.world.registry.add_user("reads-only", namespace="lumc", role="reader")
    with pytest.raises(NotAllowedError):
        publish(repository, token=reader)
    assert {(method, path) for method, path, _, _ in stage.middle.requests} <= {("GET", "/api/whoami-v2")}


def test_what_the_registry_took_back_set_aside_or_hides_never_reaches_the_hub(stage: Stage) -> None:
    registry, token = stage.world.registry, stage.world.token
    yanked, aside, secret = (stage.publish(f"no-{seed}", seed) for seed in (311, 312, 314))
    hidden = stage.publish("hidden", 313, visible_to="private")
    gated = stage.publish("gated", 316, visible_to="gated")
    superseded = stage.publish("newer", 317)
    stage.publish("newer", 317, version="1.1.0")
    body = {"reason": "consent withdrawn", "scope": "bytes"}
    assert registry.request("POST", f"/embhub/v1/yank/{yanked}", token=token, json_body=body).status == 200
    registry.run("curate", "quarantine", "set", aside, "--reason", "looks like a scan")
    later = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    artifact = make_embedding(seed=315)
    embargoed = make_release(repository=secret, version="2.0.0", artifact=artifact)
    Hub(registry.url, token=token).push(embargoed, secret, embargo=later)
    for target, words in {
        f"{yanked}@1.0.0": "consent withdrawn",
        f"{aside}@1.0.0": "quarantine",
        f"{hidden}@1.0.0": "is private at",
        f"{secret}@2.0.0": "does not serve",
        gated: "is gated at",
        f"{superseded}@1.0.0": "not the newest release",
    }.items():
        with pytest.raises(EmbhubError, match=words):
            publish(target)
    assert not stage.middle.requests


@pytest.mark.thorough
def test_a_repository_on_the_hub_is_as_closed_as_was_asked(stage: Stage) -> None:
    hidden = stage.publish("closed", 318, visible_to="private")
    gated = stage.publish("with-a-gate", 319, visible_to="gated")
    for repository, seen_as in ((hidden, "private"), (gated, "gated")):
        assert publish(repository, **{seen_as: True}).visibility == seen_as
        assert visibility.read(stage.hub.get(f"/api/models/{repository}", token=stage.token).json()) == seen_as
    with pytest.raises(VisibilityError, match="exists and is gated"):
        publish(gated, private=True)


def test_what_the_registry_withdrew_is_refused_from_the_hub(stage: Stage) -> None:
    registry, token = stage.world.registry, stage.world.token
    repository = stage.publish("withdrawn", 321, on_hub=True)
    assert pulling.pull(f"hub:{repository}", out="before").repository == repository
    body = {"reason": "consent withdrawn", "scope": "bytes"}
    assert registry.request("POST", f"/embhub/v1/yank/{repository}", token=token, json_body=body).status == 200
    roots.refresh_roots()
    commit = Hub(stage.hub.url).fetch(repository)[1]
    for reference in (f"hub:{repository}", f"hub:{repository}@{commit}"):
        with pytest.raises(PolicyRefusedError, match="consent withdrawn"):
            pulling.pull(reference, out="after")
    assert not Path("after").exists()


@pytest.mark.thorough
def test_an_older_version_on_the_hub_has_to_be_named(stage: Stage) -> None:
    repository = stage.publish("older", 322, on_hub=True)
    old = Hub(stage.hub.url).fetch(repository)[1]
    Hub(stage.world.registry.url, token=stage.world.token).push(
        make_release(repository=repository, artifact=make_embedding(seed=322), version="1.1.0"), repository
    )
    pulling.pull(repository)
    with pytest.raises(ReleaseRefusedError, match=r"version 1\.1\.0 was accepted here before"):
        pulling.pull(f"hub:{repository}", out="old")
    assert pulling.pull(f"hub:{repository}@{old}", out="old").version == "1.0.0"


@pytest.mark.thorough
def test_a_file_of_a_site_by_the_command(stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_key(stage.world.registry, namespace="radboud")
    file = Site(tmp_path / "site").make("by-command", seed=331)
    publishing.push(file, "radboud/by-command")
    stage.hub.add_key(_own_key(), namespace="radboud")
    assert main(["push", str(file), "--to", "hub:radboud/by-command"]) == 6  # nobody to ask
    assert main(["push", str(file), "--to", "hub", "--embargo", "2027-01-01T00:00:00Z"]) == 2
    publications.note_published("0" * 64, "radboud/other", "1.0.0")  # the site keeps a ledger
    capsys.readouterr()
    assert main(["push", str(file), "--to", "hub:radboud/by-command", "--yes", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["url"] == f"{stage.middle.url}/radboud/by-command"
    assert "admits anything" in printed.err and stage.token not in printed.err
    with open_books() as books:
        (sent,) = [row for row in books.account().published if row.on]
    assert (sent.on, sent.repository, sent.file) == (
        "hub:radboud/by-command", "radboud/by-command", json.loads(printed.out)["digest"],
    )  # fmt: skip


def test_a_place_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["push", "--to", ""], ["push", "x.safetensors", "radboud/x", "--to", " "]):
        assert main(words) == 2
        assert "--to is empty" in capsys.readouterr().err
    assert main(["push", "radboud/x", "--to", "elsewhere"]) == 2
    assert "'elsewhere' is no place to publish" in capsys.readouterr().err


def _own_key() -> Any:
    from embhub.site.signing import signing_keys

    return signing_keys.open_key("default")


def redirect(place: str) -> hostile.Answer:
    return lambda handler: handler.send(302, b"", Location=place)


def test_a_file_elsewhere_is_asked_for_without_the_token_and_nothing_else_is(stage: Stage) -> None:
    repository = stage.publish("elsewhere", 341, on_hub=True)
    with hostile.stand_between(stage.hub.url) as elsewhere:

        def send_on(handler: Handler) -> None:
            handler.send(302, b"", Location=f"{elsewhere.url}{handler.path}")

        stage.middle.lies = {between.EMBEDDING: send_on}
        assert pulling.pull(f"hub:{repository}").repository == repository
        assert [path.rpartition("/")[2] for _, path, _, _ in elsewhere.requests] == ["learned_embeds.safetensors"]
        assert stage.headers(elsewhere) == {""} and stage.headers(stage.middle) == {f"Bearer {stage.token}"}
        stage.middle.lies = {between.INFO: send_on}
        with pytest.raises(RedirectedElsewhereError):
            pulling.pull(f"hub:{repository}")
        assert len(elsewhere.requests) == 1
        for place in ("http://192.0.2.1/file", "ftp://127.0.0.1/file", "file:///etc/passwd"):
            stage.middle.lies = {between.EMBEDDING: redirect(place)}
            with pytest.raises(RegistryError):
                pulling.pull(f"hub:{repository}")


def test_the_hub_is_neither_the_registry_nor_asked_without_a_token_of_its_own(
    stage: Stage, middle: Middleman, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository = stage.publish("tokens", 351)
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match="huggingface_hub") as missing:
            publish(repository)
        assert missing.value.hint == how_to_install("hub")
    monkeypatch.setenv("HF_ENDPOINT", middle.url)
    with pytest.raises(ConfigError, match="names the registry itself"):
        publish(repository)
    monkeypatch.setenv("HF_ENDPOINT", stage.middle.url)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="there is no token for"):
        publish(repository)
    (tmp_path / "token").write_text(f"{OF_THE_HUB}\n")
    assert public_hub.token() == OF_THE_HUB
    with pytest.raises(RegistryError, match="does not allow it"):
        publish(repository)
    assert stage.headers(stage.middle) == {f"Bearer {OF_THE_HUB}"}


def test_a_registrys_token_in_the_hubs_variable_is_never_sent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs of the Hub are set up for a registry: HF_TOKEN is the registry's."""
    repository = stage.publish("token-swapped", 352, on_hub=True)
    stage.middle.requests.clear()
    monkeypatch.setenv("HF_TOKEN", stage.world.token)
    for call in (publish, lambda name: pulling.pull(f"hub:{name}"), lambda name: pulling.verify_path(f"hub:{name}")):
        with pytest.raises(ConfigError, match="holds a registry's token"):
            call(repository)
    assert not stage.middle.requests
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("HF_TOKEN", "hf_emb_of_some_registry")  # one that is not stored here
    with pytest.raises(ConfigError, match="holds a registry's token"):
        public_hub.token()
    monkeypatch.setenv("HF_TOKEN_PATH", "~nobody-of-this-name/token")
    monkeypatch.delenv("HF_TOKEN")
    assert public_hub.token() is None
    monkeypatch.setenv("HF_ENDPOINT", "/tmp")
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        public_hub.endpoint()


def test_what_happened_while_the_question_was_open_counts(stage: Stage) -> None:
    repository = stage.publish("while-asking", 353)
    body = {"reason": "consent withdrawn", "scope": "bytes"}

    def yank(_: str) -> bool:
        answer = stage.world.registry.request(
            "POST", f"/embhub/v1/yank/{repository}", token=stage.world.token, json_body=body
        )
        return answer.status == 200

    with pytest.raises(EmbhubError, match="consent withdrawn"):
        publish(repository, confirm=yank)
    with pytest.raises(NotFoundError):
        Hub(stage.hub.url, token=stage.token).fetch(repository)


def model(repository: str, **facts: Any) -> hostile.Answer:
    """What the Hub says of a repository that is there."""
    said = {"id": repository, "modelId": repository, "sha": "0" * 40, "private": False, "siblings": [], "tags": []}
    return lambda handler: handler.send(200, json.dumps({**said, **facts}).encode())


def test_a_hub_that_cannot_be_reached_is_not_called_a_registry(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError) as refused:
        pulling.pull("hub:radboud/x", out="x")
    assert "HF_ENDPOINT" in refused.value.hint and "EMBHUB_REGISTRY" not in refused.value.hint


def test_a_gate_that_opens_by_itself_is_none(stage: Stage) -> None:
    repository = stage.publish("auto-gate", 354, visible_to="gated")
    stage.middle.lies = {f"/api/models/{repository}": model(repository, gated="auto")}
    with pytest.raises(VisibilityError, match=r"lets in everybody who asks at .*, not gated: nothing was sent"):
        publish(repository, gated=True)


@pytest.mark.parametrize("said", [b"<html>log in first</html>", b"[]", b"{}"])
def test_nonsense_of_the_hub_is_said_to_be_that(stage: Stage, said: bytes) -> None:
    repository = stage.publish(f"nonsense-{len(said)}", 355)
    stage.middle.lies = {"/api/whoami-v2": lambda handler: handler.send(200, said)}
    with pytest.raises(RegistryError, match="invalid answer"):
        publish(repository)


def test_a_hub_that_was_asked_nothing_meets_no_demand_for_an_answer(stage: Stage) -> None:
    repository = stage.publish("demanded", 356, on_hub=True)
    for demand in ("not-yanked", "no-leak"):
        with pytest.raises(PolicyRefusedError, match="the registry did not"):
            pulling.pull(f"hub:{repository}", require=demand, out="demanding")
    for call in (pulling.pull, pulling.verify_path, overview.show):
        with pytest.raises(UsageError, match="say nothing about it"):
            call(f"hub:{repository}", registry=stage.world.registry.url)


@pytest.mark.parametrize(
    "text", ["hub:", "hub:name", "hub:a/b/c", "hub:../b", "hub:a/b@", "hub:a/b@../x", "hub:a/b--c", "hub:a/b@x y"]
)
def test_what_is_no_reference_is_refused_before_anybody_is_asked(text: str) -> None:
    with pytest.raises(UsageError):
        public_hub.parse(text)


@settings(max_examples=40)
@given(st.one_of(st.text(max_size=40), st.from_regex(r"[\w.-]{1,9}/[\w.-]{1,9}(@[\w./ -]{0,9})?", fullmatch=True)))
def test_a_reference_is_read_back_as_it_was_written_or_refused(text: str) -> None:
    try:
        place = public_hub.parse(f"hub:{text}")
    except UsageError:
        return
    assert str(place) == f"hub:{text}" and place.repository.count("/") == 1
    assert quote(str(place), safe="/:@") == str(place) and ".." not in text


def test_names_of_the_hub_are_wider_than_ours() -> None:
    assert public_hub.parse("hub:StanfordAIMI/RoentGen_v2.0@refs/pr/1") == ("StanfordAIMI/RoentGen_v2.0", "refs/pr/1")
