"""A study of four hospitals: proposed, joined, published and yanked by one of them; what a registry may not say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from embhub.client.account import accounts
from embhub.client.member import studies
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.refusals import ReleaseRefusedError
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from embhub.site.signing import keys
from embhub.study import consents
from embhub.study.plan import Study
from tests.support import pushes, releases
from tests.support import study_records as of
from tests.support.servers import Answer, RunningRegistry, start_registry
from tests.support.sites import Site, new_key, open_site
from tests.support.study_records import SITES, STUDY_KEYS

PLAN = of.plan()
NAME = PLAN.repository.partition("/")[2]
Act = Callable[[str], Site]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    made = start_registry(Path(tmp_path_factory.mktemp("registry")))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hospitals(registry: RunningRegistry, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Site]:
    """Each with an officer's key; radboud publishes as well. A stranger beside them."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in (*SITES, "nki"):
            folder = tmp_path_factory.mktemp(name)
            made[name] = open_site(registry, folder, namespace=name, user=f"from-{name}").enter(patch)
            new_key(registry, namespace=name, name="officer", role="approve")
            if name == "radboud":
                new_key(registry, namespace=name)
        for site in made.values():
            site.enter(patch).trust(registry)
    return made


@pytest.fixture
def act_as(hospitals: dict[str, Site], monkeypatch: pytest.MonkeyPatch) -> Act:
    return lambda name: hospitals[name].enter(monkeypatch)


def joined_by_all(plan: Study, act_as: Act) -> studies.Fetched:
    """A study that radboud proposed and all sites joined; radboud acts then."""
    act_as("radboud")
    studies.propose(plan)
    for site in SITES:
        act_as(site)
        studies.join(studies.fetch(plan.digest), STUDY_KEYS[site].public, key="officer")
    act_as("radboud")
    return studies.fetch(plan.digest)


def finished(fetched: studies.Fetched, *, consenting: tuple[str, ...] = SITES, **card: str) -> dict[str, bytes]:
    """The files of a study's release, as the coordinator signs them now."""
    plan = fetched.plan
    learned = of.embedding(plan, seed=int(plan.digest[:6], 16))  # a yank of one study's numbers binds no other's
    made = of.unsigned_release(None, artifact=learned, **card)
    signed = {
        site: consents.sign(plan.digest, site, made.embedding.digest, key=STUDY_KEYS[site]) for site in consenting
    }
    release = Release.from_files({**made.files, release_files.STUDY: fetched.record(signed)})
    return dict(
        signing.sign(
            release, registry=releases.ORIGIN, repository=plan.repository, key=keys.load(), now=datetime.now(UTC)
        ).files
    )  # fmt: skip


def publish_alone(registry: RunningRegistry, repository: str, *, seed: int, token: str) -> None:
    """Version 2.0.0, which came of no study, over a study's release."""
    alone = releases.make_release(
        artifact=releases.make_embedding(seed=seed), audited=False, key=keys.load(), repository=repository,
        version="2.0.0",
    )  # fmt: skip
    body = pushes.commit_body(dict(alone.files))
    removed = b"\n" + json.dumps({"key": "deletedFile", "value": {"path": release_files.STUDY}}).encode()
    sent = registry.request(
        "POST", f"/api/models/{repository}/commit/main", token=token,
        headers={"Content-Type": "application/x-ndjson"}, body=body + removed,
    )  # fmt: skip
    assert sent.status == 200, sent.body


def yank(registry: RunningRegistry, name: str, site: Site | None, method: str = "POST", **body: Any) -> Answer:
    token = site.token if site else None
    return registry.request(method, f"/embhub/v1/yank/radboud/{name}", token=token, json_body=body)


def test_from_a_proposal_to_the_last_join(act_as: Act) -> None:
    act_as("radboud")
    with pytest.raises(ConfigError, match="role publish in radboud"):
        studies.propose(PLAN, key="officer")
    made = studies.propose(PLAN)
    assert made.plan == PLAN and made.missing == SITES and not made.withdrawn and made.released is None
    for site in SITES:
        act_as(site)
        fetched = studies.fetch(PLAN.digest)
        assert studies.find_site(fetched, key="officer") == site
        joined = studies.join(fetched, STUDY_KEYS[site].public, key="officer")
        assert joined.keys[site].public_numbers() == STUDY_KEYS[site].public.public_numbers()
        assert PLAN.digest in [row["study"] for row in studies.listing()]
        with pytest.raises(UsageError, match="joined this study already"):
            studies.find_site(joined, key="officer")
    assert joined.missing == ()
    act_as("nki")
    assert studies.listing() == []
    with pytest.raises(RegistryError, match="there is no study"):
        studies.fetch(PLAN.digest)
    with pytest.raises(UsageError, match="nki is no site"):
        studies.find_site(joined, key="officer")


def test_who_withdraws_ends_the_study_for_all(registry: RunningRegistry, act_as: Act) -> None:
    plan = of.plan(repository="radboud/left")
    fetched = joined_by_all(plan, act_as)
    act_as("umcu")
    assert studies.withdraw(plan.digest, key="officer") == "umcu"
    site = act_as("radboud")
    assert set(studies.fetch(plan.digest).withdrawn) == {"umcu"}
    assert pushes.create(registry, "left", token=site.token).status == 200
    refused = pushes.commit(registry, "radboud/left", finished(fetched), token=site.token)
    assert refused.status == 422 and "umcu withdrew" in refused.json()["error"], refused.body


def test_a_release_is_taken_where_it_was_proposed_and_sites_signed_it(registry: RunningRegistry, act_as: Act) -> None:
    plan = of.plan(repository="radboud/finished")
    fetched, token = joined_by_all(plan, act_as), act_as("radboud").token
    for name in ("finished", "another"):
        assert pushes.create(registry, name, token=token).status == 200
    few = pushes.commit(registry, plan.repository, finished(fetched, consenting=SITES[:2]), token=token)
    assert few.status == 422 and "the study needs 3" in few.json()["error"], few.body
    elsewhere = signing.sign(
        Release.from_files(finished(fetched)), registry=releases.ORIGIN, repository="radboud/another",
        key=keys.load(), now=datetime.now(UTC),
    )  # fmt: skip
    refused = pushes.commit(registry, "radboud/another", dict(elsewhere.files), token=token)
    assert refused.status == 422 and "the study is for radboud/finished" in refused.json()["error"], refused.body
    done = pushes.commit(registry, plan.repository, finished(fetched, consenting=SITES[1:]), token=token)
    assert done.status == 200, done.body
    assert studies.fetch(plan.digest).released is not None
    with pytest.raises(RegistryError, match="a release of this study is published"):
        studies.withdraw(plan.digest, key="officer")


@pytest.mark.parametrize("private", [False, True])
def test_each_site_may_yank_the_release_and_a_stranger_may_not(
    registry: RunningRegistry, act_as: Act, hospitals: dict[str, Site], private: bool
) -> None:
    name = "hidden" if private else "shown"
    plan = of.plan(repository=f"radboud/{name}")
    fetched, token = joined_by_all(plan, act_as), act_as("radboud").token
    body = {"name": name, "type": "model", "private": private}
    assert registry.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
    before = yank(registry, name, hospitals["umcu"], reason="not yet")
    assert before.status == (404 if private else 403), "nothing was released"
    assert pushes.commit(registry, plan.repository, finished(fetched), token=token).status == 200
    reader = Site(Path(), registry.url, registry.add_user(f"r-{name}", namespace="umcu", role="reader"))
    for who in (hospitals["nki"], reader):
        assert yank(registry, name, who, reason="x").status == (404 if private else 403)
    assert yank(registry, name, None, reason="x").status == 401

    done = yank(registry, name, hospitals["umcu"], reason="a patient objected")
    assert done.status == 200, done.body
    (row,) = done.json()["yanked"]
    assert (row["by"], row["reason"]) == ("site", "umcu, a site of its study: a patient objected")
    assert row["scope"] == "bytes"
    again = pushes.commit(registry, plan.repository, finished(fetched, version="1.0.1"), token=token)
    assert (again.status, again.json()["rule"]) == (422, "withdrawn"), "the same numbers as the next version"
    for who in (hospitals["radboud"], hospitals["umcu"], hospitals["lumc"]):
        assert yank(registry, name, who, "DELETE").status == (
            404 if private and who is not hospitals["radboud"] else 403
        ), "it is the operator's to lift"
    page = registry.get(f"/radboud/{name}").body.decode()
    assert private or ("A site of its study yanked this release" in page and "umcu, a site of its study" in page)
    assert registry.ask("curate", "unyank", plan.repository)["yanked"] == []


def test_a_site_yanks_what_came_of_its_own_study_and_no_other_release(
    registry: RunningRegistry, act_as: Act, hospitals: dict[str, Site]
) -> None:
    plan = of.plan(repository="radboud/mixed")
    fetched, token = joined_by_all(plan, act_as), act_as("radboud").token
    assert pushes.create(registry, "mixed", token=token).status == 200
    assert pushes.commit(registry, plan.repository, finished(fetched), token=token).status == 200
    publish_alone(registry, plan.repository, seed=7, token=token)
    assert yank(registry, "mixed", hospitals["lumc"], reason="x", version="2.0.0").status == 403
    assert yank(registry, "mixed", hospitals["lumc"], reason="x").status == 403, "the newest is of no study"
    assert yank(registry, "mixed", hospitals["lumc"], reason="x", version="1.0.0").status == 200


@pytest.mark.parametrize("private", [False, True])
def test_a_site_is_told_what_it_yanked_and_nothing_else_of_a_private_repository(
    registry: RunningRegistry, act_as: Act, hospitals: dict[str, Site], private: bool
) -> None:
    name = "kept" if private else "open"
    plan = of.plan(repository=f"radboud/{name}")
    fetched, token = joined_by_all(plan, act_as), act_as("radboud").token
    body = {"name": name, "type": "model", "private": private}
    assert registry.request("POST", "/api/repos/create", token=token, json_body=body).status == 200
    assert pushes.commit(registry, plan.repository, finished(fetched), token=token).status == 200
    publish_alone(registry, plan.repository, seed=8 + private, token=token)
    assert yank(registry, name, hospitals["radboud"], reason="of another cohort", version="2.0.0").status == 200
    registry.run("curate", "quarantine", "set", plan.repository, "--version", "2.0.0", "--reason", "a copy")
    done = yank(registry, name, hospitals["umcu"], reason="a patient objected", version="1.0.0")
    assert done.status == 200, done.body
    assert [row["version"] for row in done.json()["yanked"]] == (["1.0.0"] if private else ["1.0.0", "2.0.0"])
    assert bool(done.json()["quarantined"]) is not private
    mine = yank(registry, name, hospitals["radboud"], reason="so do we", version="1.0.0").json()
    assert len(mine["yanked"]) == 2 and len(mine["quarantined"]) == 1


def test_each_site_may_yank_what_was_deleted_and_published_again(
    registry: RunningRegistry, act_as: Act, hospitals: dict[str, Site]
) -> None:
    plan = of.plan(repository="radboud/again")
    fetched, token = joined_by_all(plan, act_as), act_as("radboud").token
    files = finished(fetched)

    def publish() -> str:
        assert pushes.create(registry, "again", token=token).status == 200
        done = pushes.commit(registry, plan.repository, files, token=token)
        assert done.status == 200, done.body
        return studies.fetch(plan.digest).released or ""

    first = publish()
    registry.run("repo", "delete", plan.repository, "--reason", "a mistake", "--scope", "release")
    registry.run("repo", "free", plan.repository)
    again = publish()
    assert again > first
    later = pushes.commit(registry, plan.repository, finished(fetched), token=token)
    assert later.status == 200, later.body
    assert studies.fetch(plan.digest).released == again, "a later commit is no publication"
    done = yank(registry, "again", hospitals["umcu"], reason="a patient objected", version="1.0.0")
    assert done.status == 200, done.body


def test_what_a_registry_says_of_a_study_is_verified(act_as: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, other = of.plan(repository="radboud/lies"), of.plan(repository="radboud/lies", caption="another, {}")
    joined_by_all(plan, act_as)
    joined_by_all(other, act_as)
    hub = accounts.connect()
    honest = {one.digest: hub.call(f"{studies.PATH}/{one.digest}", what="a study") for one in (plan, other)}

    def told(**changes: Any) -> studies.Fetched:
        lie = {**json.loads(json.dumps(honest[plan.digest])), **changes}
        monkeypatch.setattr(Hub, "call", lambda *_, **__: lie)
        return studies.fetch(plan.digest)

    assert not told().missing
    good, foreign = honest[plan.digest]["joins"], honest[other.digest]
    for changes, refusal in (
        ({"proposal": foreign["proposal"]}, RegistryError),
        ({"proposal": None}, RegistryError),
        ({"joins": {**good, "umcu": foreign["joins"]["umcu"]}}, ReleaseRefusedError),
        ({"joins": {**good, "umcu": good["lumc"]}}, RegistryError),
        ({"joins": {**good, "umcu": of.sent(of.join("umcu", digest=plan.digest))}}, ReleaseRefusedError),
        ({"joins": []}, RegistryError),
        ({"withdrawals": {"umcu": good["umcu"]}}, ReleaseRefusedError),
        ({"withdrawals": {"umcu": of.sent(of.withdrawal("umcu", digest=plan.digest))}}, ReleaseRefusedError),
        ({"released": 1}, RegistryError),
    ):  # fmt: skip
        with pytest.raises(refusal):
            told(**changes)
    monkeypatch.setattr(Hub, "call", lambda *_, **__: [])
    with pytest.raises(RegistryError, match="no study"):
        studies.listing()
    for digest in ("", "x" * 64, "0" * 63):
        with pytest.raises(UsageError, match="no digest of a study"):
            studies.fetch(digest)
