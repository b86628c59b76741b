"""A withdrawal reaches sites, mirrors, sticks and folders in one refresh, and nobody holds it back unnoticed."""

from __future__ import annotations

import json
import shutil
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.member import status
from embhub.client.pulling import opening
from embhub.client.pulling import pull as pulling
from embhub.client.trusted import roots
from embhub.errors import UsageError
from embhub.formats.synthetic_mark import mark_png
from embhub.refusals import RollbackError
from embhub.release.demands import PolicyRefusedError
from embhub.trust.advisories import Advisories
from tests.support.between import TRUST, World
from tests.support.hostile import Handler, Middleman
from tests.support.releases import make_embedding, make_release, make_sheet
from tests.support.sites import Site

REASON = "consent withdrawn"


@pytest.fixture
def site(world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site that reaches the registry itself, as `D`."""
    made = Site(tmp_path / "site", world.registry.url).enter(monkeypatch)
    made.trust(world.registry)
    return made


def publish(world: World, name: str, seed: int) -> str:
    """A release of its own bytes; returns `radboud/NAME`."""
    from embhub.client.wire.hub import Hub

    repository = f"radboud/{name}"
    Hub(world.registry.url, token=world.token).push(
        make_release(repository=repository, artifact=make_embedding(seed=seed)), repository
    )
    return repository


def withdraw(world: World, repository: str, scope: str = "bytes") -> None:
    body = {"reason": REASON, "scope": scope}
    answer = world.registry.request("POST", f"/embhub/v1/yank/{repository}", token=world.token, json_body=body)
    assert answer.status == 200, answer.body


@pytest.mark.thorough
def test_one_refresh_reaches_folder_stick_and_mirror(
    world: World, middle: Middleman, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = publish(world, "reaches", 201)
    pulling.pull(repository, out=site.folder / "folder")
    shutil.copytree(site.folder / "folder", tmp_path / "stick")
    shutil.copytree(site.folder / "folder", tmp_path / "renamed" / "copy")
    everywhere = [site.folder / "folder", tmp_path / "stick", tmp_path / "renamed" / "copy"]
    assert all(pulling.verify_path(place, policy="standard").withdrawn == () for place in everywhere)
    assert main(["verify", "--pulled"]) == 0

    withdraw(world, repository)
    assert main(["verify", "--pulled"]) == 0, "nothing is asked without --refresh"
    assert main(["verify", "--pulled", "--refresh"]) == 8  # the one refresh; nothing below asks the registry
    world.registry.stop()
    try:
        for place in everywhere:
            warned = pulling.verify_path(place)
            assert REASON in warned.withdrawn[0].sentence
            assert any(row.check == "withdrawn" and row.outcome == "warning" for row in warned.findings)
            for policy, require in (("strict", ()), ("standard", "not-yanked")):
                with pytest.raises(PolicyRefusedError, match=REASON):
                    pulling.verify_path(place, policy=policy, require=require)
            assert any(REASON in text for text in opening.open_path(place).warnings)
            capsys.readouterr()
            assert main(["verify", str(place)]) == 0
            assert "do not use" in capsys.readouterr().err
            assert main(["verify", "--pulled", str(place)]) == 8
            assert REASON in capsys.readouterr().out
        assert main(["verify", "--pulled", "--json"]) == 8
        found = json.loads(capsys.readouterr().out)
        assert found["withdrawn"] and [row["state"] for row in found["releases"]] == ["withdrawn"]
    finally:
        world.registry.start()
    # B: a mirror at an address that nobody pinned, whose own word on yanks is withheld
    middle.lies = {"/embhub/v1/": lambda handler: handler.send(404, b"{}")}
    with pytest.raises(PolicyRefusedError, match=REASON):
        pulling.pull(repository, registry=middle.url, out=tmp_path / "from-the-mirror")
    assert not (tmp_path / "from-the-mirror").exists()


def test_an_image_leads_to_its_release_and_then_to_the_withdrawal(
    world: World, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`embhub research detect` on an image of a release that was pulled: verified, and withdrawn after one refresh."""
    repository = publish(world, "detected", 216)
    pulling.pull(repository, out=tmp_path / "pulled")
    digest = make_embedding(seed=216).digest
    (tmp_path / "image.png").write_bytes(mark_png(make_sheet(), embeddings=[digest]))

    def known() -> dict[str, Any]:
        capsys.readouterr()
        assert main(["research", "detect", str(tmp_path / "image.png"), "--metadata-only", "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)["files"][0]["releases"]
        return dict(found)

    before = known()
    assert (before["state"], before["repository"], before["reasons"]) == ("ok", f"{repository} 1.0.0", [])
    assert before["site"] == "Radboud" and before["digest"] == digest
    withdraw(world, repository)
    roots.refresh_roots()
    after = known()
    assert after["state"] == "withdrawn" and any(REASON in reason for reason in after["reasons"])
    assert main(["research", "detect", str(tmp_path / "image.png"), "--metadata-only"]) == 0
    assert REASON in capsys.readouterr().out


def test_a_pull_takes_the_advisories_by_itself(world: World, site: Site, tmp_path: Path) -> None:
    repository, other = publish(world, "pulled-before", 202), publish(world, "pulled-later", 203)
    pulling.pull(repository, out=tmp_path / "before")
    withdraw(world, repository, scope="release")
    pulling.pull(other, out=tmp_path / "later")
    assert [row.version for row in pulling.verify_path(tmp_path / "before").withdrawn] == ["1.0.0"]


def test_a_withdrawn_release_is_pulled_by_its_commit_alone(world: World, site: Site, tmp_path: Path) -> None:
    repository = publish(world, "by-commit", 204)
    pulling.pull(repository, out=tmp_path / "first")
    commit = world.registry.get(f"/api/models/{repository}").json()["sha"]
    withdraw(world, repository)
    for reference in (repository, f"{repository}@1.0.0"):
        assert main(["pull", reference, "--out", str(tmp_path / "again")]) == 8
    assert main(["pull", f"{repository}@{commit}", "--out", str(tmp_path / "again")]) == 0


def test_older_advisories_are_refused_and_so_are_none(
    world: World, middle: Middleman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))
    world.site(tmp_path / "site", monkeypatch, warm=False)
    repository = publish(world, "held-back", 205)
    withdraw(world, repository)
    before = world.registry.get(TRUST).body
    roots.refresh_roots()
    withdraw(world, publish(world, "held-back-too", 206))
    roots.refresh_roots()
    document = json.loads(world.registry.get(TRUST).body)
    gone = {key: value for key, value in document.items() if key not in ("advisories", "timestamp")}
    older = {**gone, "advisories": json.loads(before)["advisories"]}
    for lie in (before, json.dumps(gone).encode(), json.dumps(older).encode()):
        middle.lies = {TRUST: partial(_send, lie)}
        with pytest.raises(RollbackError):
            roots.refresh_roots()


def _send(body: bytes, handler: Handler) -> None:
    handler.send(200, body)


def test_another_registry_withdraws_nothing_of_this_one(
    world: World, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embhub.release.checks import withdrawals
    from embhub.trust import advisories
    from tests.support import releases
    from tests.support.releases import NOW

    foreign_key = releases.make_key("another registry's advisories")
    repository = "radboud/mine"
    entry = advisories.new(
        scope="bytes", by="operator", namespace="radboud", repository=repository, version="1.0.0", digest="a" * 64,
        reason="silenced", published="2026-11-20T10:00:00Z",
    )  # fmt: skip

    def registry(address: str, key: Any, entries: tuple[Any, ...]) -> Any:
        document = advisories.build(
            address.removeprefix("https://"), number=1, issued="2026-11-20T10:00:00Z", entries=entries
        )
        named = {"fingerprint": key.fingerprint, "public_key_pem": key.public_pem}
        ring = releases.make_keyring(registry=address, online={"advisories": named})
        return releases.make_trust(ring), document.sign(key)

    from dataclasses import replace

    (mine, own), (other, theirs) = (
        registry("https://hub.example.org", releases.make_key("mine"), ()),
        registry("https://other.example.org", foreign_key, (entry,)),
    )
    mine, other = replace(mine, advisories=own), replace(other, advisories=theirs)
    facts = {"namespace": "radboud", "repository": repository, "version": "1.0.0", "digest": "a" * 64}
    found, findings = withdrawals.find([mine, other], signed_for=mine, numbers=None, **facts)
    assert found == () and [row.outcome for row in findings] == ["ok", "note"]
    found, findings = withdrawals.find([mine, other], signed_for=other, numbers=None, **facts)
    assert found == (entry,) and findings[0].outcome == "warning"
    swapped = replace(mine, advisories=theirs)
    with pytest.raises(Exception, match="not made by"):
        withdrawals.find([swapped], signed_for=swapped, numbers=None, **facts)
    assert NOW


def test_status_knows_what_was_pulled_and_where(world: World, site: Site, tmp_path: Path) -> None:
    repository = publish(world, "known", 207)
    pulling.pull(repository, out=tmp_path / "here")
    notes = site.folder / "home/state/pulled.json"
    assert stat.S_IMODE(notes.stat().st_mode) == 0o600
    (row,) = status.look_up().releases
    assert (row.folder, row.repository, row.state) == (str(tmp_path / "here"), repository, "ok")
    shutil.rmtree(tmp_path / "here")
    withdraw(world, repository)
    roots.refresh_roots()
    states = {(row.folder is None, row.state) for row in status.look_up(repository).releases}
    assert states == {(False, "missing"), (True, "withdrawn")}, "its folder is gone, a copy may be elsewhere"
    with pytest.raises(UsageError):
        status.look_up("radboud/never-pulled")
    with pytest.raises(UsageError):
        status.look_up(tmp_path / "nowhere")


def test_status_of_an_edited_folder_is_no_all_clear(world: World, site: Site, tmp_path: Path) -> None:
    pulling.pull(publish(world, "edited", 208), out=tmp_path / "here")
    card = tmp_path / "here/README.md"
    card.write_bytes(card.read_bytes() + b"\n")
    assert main(["verify", "--pulled", str(tmp_path / "here")]) == 4
    assert main(["verify"]) == 2 and main(["verify", "--pulled", "x/y", "--all"]) == 2
    assert main(["verify", "here", "--refresh"]) == 2 and main(["verify", "--pulled", "--policy", "strict"]) == 2


def test_a_stolen_key_shows_in_status(world: World, site: Site, tmp_path: Path) -> None:
    from embhub.client.wire.hub import Hub
    from tests.support.releases import make_key

    thief = make_key("a key that a site lost to a thief")
    world.registry.add_key(thief, namespace="radboud")
    release = make_release(repository="radboud/robbed", artifact=make_embedding(seed=209), key=thief)
    Hub(world.registry.url, token=world.token).push(release, "radboud/robbed")
    pulling.pull("radboud/robbed", out=tmp_path / "robbed")
    world.registry.run("key", "revoke", thief.fingerprint, "--reason", "stolen")
    roots.refresh_roots()
    assert main(["verify", "--pulled"]) == 4, "it does not verify any more"
    shutil.rmtree(tmp_path / "robbed")
    (row,) = [row for row in status.look_up("radboud/robbed").releases if row.folder is None]
    assert row.state == "withdrawn" and "stolen" in row.reasons[0]


def test_advisories_are_what_the_keyring_says(world: World, site: Site) -> None:
    from embhub.site.pins import trust_store

    trust = trust_store.load(world.registry.url)
    key = trust.keyring.online_key("advisories")
    assert key is not None
    served = Advisories.parse(world.registry.get("/embhub/v1/advisories").body, key)
    assert served.registry == trust.origin
