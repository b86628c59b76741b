"""What was withdrawn stays withdrawn: by whom, in which scope, and against publishers, thieves and copyists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from embhub.errors import EmbhubError, UsageError
from embhub.release.files import EMBEDDING, audit_bundle_of
from embhub.site.signing.keys import SigningKey
from embhub.trust import kept_advisories, p256
from embhub.trust import keyring as keyrings
from embhub.trust.advisories import Advisories, Advisory
from embhub.trust.keyring import Trust
from embhub_registry.cli import root
from embhub_registry.database import Connection
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import advisories, stolen_keys
from embhub_registry.storage.folder import Registry
from tests.registry.conftest import House
from tests.support import pushes, releases
from tests.support.servers import Answer

KEYS = {"radboud": releases.SITE, "lumc": releases.make_key("lumc's own key")}


@pytest.fixture(scope="module", autouse=True)
def key_of_lumc(house: House) -> None:
    house.registry.add_key(KEYS["lumc"], namespace="lumc")


def push(house: House, repository: str, *, key: SigningKey | None = None, **changes: Any) -> Answer:
    """Publish a release as its namespace does; the repository is made where it is not there."""
    namespace, _, name = repository.partition("/")
    token = house.alice if namespace == "radboud" else house.lea
    pushes.create(house.registry, name, token=token)
    release = releases.make_release(repository=repository, key=key or KEYS[namespace], **changes)
    return pushes.commit(house.registry, repository, dict(release.files), token=token)


def bytes_of(seed: int) -> Any:
    return releases.make_embedding(seed=seed)


def act(house: House, *words: str) -> Result:
    """`embhub-registry WORDS`, in this process: what an operator does beside the server."""
    return CliRunner().invoke(root, ["--dir", str(house.registry.folder), *words], catch_exceptions=False)


def ask(house: House, *words: str) -> dict[str, Any]:
    """The same, with `--json`."""
    done = act(house, *words, "--json")
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def yank(house: House, repository: str, token: str, method: str = "POST", **body: Any) -> Answer:
    return house.registry.request(method, f"/embhub/v1/yank/{repository}", token=token, json_body=body)


def marks(house: House, repository: str) -> list[tuple[str, str]]:
    found = house.registry.get(f"/embhub/v1/status/{repository}").json()
    return [(row["by"], row["scope"]) for row in found["yanked"]]


def listed(house: House, name: str) -> bool:
    return any(row["id"].endswith(f"/{name}") for row in house.registry.get(f"/api/models?search={name}").json())


def rule_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json().get("rule", "")


# ── whose word it is ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_publisher_does_not_lift_the_operators_yank(house: House) -> None:
    assert push(house, "lumc/unsafe", artifact=bytes_of(100)).status == 200
    act(house, "curate", "yank", "lumc/unsafe", "--version", "1.0.0", "--reason", "found unsafe by the steering board")
    denied = yank(house, "lumc/unsafe", house.lea, "DELETE", version="1.0.0")
    assert denied.status == 403 and "operator" in denied.json()["error"]
    assert marks(house, "lumc/unsafe") == [("operator", "release")]
    # the publisher's own yank beside it changes nothing of that
    assert yank(house, "lumc/unsafe", house.lea, reason="ours too").status == 200
    assert yank(house, "lumc/unsafe", house.lea, "DELETE").status == 200
    assert marks(house, "lumc/unsafe") == [("operator", "release")] and not listed(house, "unsafe")
    assert yank(house, "lumc/unsafe", house.registry.admin, "DELETE", version="1.0.0").status == 200
    assert marks(house, "lumc/unsafe") == [] and listed(house, "unsafe")


def test_the_operators_yank_over_a_publishers_is_not_lifted_with_it(house: House) -> None:
    assert push(house, "lumc/both", artifact=bytes_of(101)).status == 200
    assert yank(house, "lumc/both", house.lea, reason="typing error").status == 200
    act(house, "curate", "yank", "lumc/both", "--reason", "the board agrees")
    assert yank(house, "lumc/both", house.lea, "DELETE").status == 200
    assert marks(house, "lumc/both") == [("operator", "release")]
    assert yank(house, "lumc/both", house.lea, "DELETE").status == 403


# ── scope ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_card_is_mended_by_a_new_version_of_the_same_bytes(house: House) -> None:
    assert push(house, "radboud/card", artifact=bytes_of(102)).status == 200
    named = yank(house, "radboud/card", house.alice, reason="Mrs. Anna Jansen, born 12-03-1961, withdrew consent")
    assert (named.status, named.json()["rule"]) == (422, "personal-data")
    assert yank(house, "radboud/card", house.alice, reason="the card names the wrong scanner").status == 200
    assert push(house, "radboud/card", artifact=bytes_of(102), version="1.0.1").status == 200
    assert listed(house, "card")


def test_yanked_bytes_do_not_come_back_under_another_version_or_name(house: House) -> None:
    assert push(house, "radboud/found", artifact=bytes_of(103)).status == 200
    assert yank(house, "radboud/found", house.alice, reason="consent withdrawn", scope="bytes").status == 200
    for repository in ("radboud/found", "radboud/found-again"):
        denied = push(house, repository, artifact=bytes_of(103), version="1.0.1")
        assert rule_of(denied) == (422, "withdrawn") and "consent withdrawn" in denied.json()["error"]
    assert push(house, "radboud/found", artifact=bytes_of(104), version="1.0.1").status == 200, "other bytes may"
    # lifted by its publisher, the bytes are free again
    assert yank(house, "radboud/found", house.alice, "DELETE", version="1.0.0").status == 200
    assert push(house, "radboud/found-again", artifact=bytes_of(103), version="1.0.1").status == 200


def test_nobody_blocks_another_by_copying_their_bytes(house: House) -> None:
    assert push(house, "radboud/original", artifact=bytes_of(105)).status == 200
    assert push(house, "lumc/copy", artifact=bytes_of(105)).status == 200
    assert yank(house, "lumc/copy", house.lea, reason="mine to block", scope="bytes").status == 200
    assert marks(house, "radboud/original") == [] and listed(house, "original")
    assert push(house, "radboud/original", artifact=bytes_of(105), version="1.0.1").status == 200
    assert rule_of(push(house, "lumc/copy", artifact=bytes_of(105), version="1.0.1")) == (422, "withdrawn")


def test_the_operators_withdrawal_of_bytes_binds_every_name(house: House) -> None:
    assert push(house, "radboud/theirs", artifact=bytes_of(106)).status == 200
    assert push(house, "lumc/theirs-too", artifact=bytes_of(106)).status == 200
    act(house, "curate", "yank", "lumc/theirs-too", "--scope", "bytes", "--reason", "it memorised a patient")
    assert marks(house, "radboud/theirs") == [("operator", "bytes")]
    assert not listed(house, "theirs") and not listed(house, "theirs-too")
    assert rule_of(push(house, "radboud/new-name", artifact=bytes_of(106))) == (422, "withdrawn")
    page = house.registry.get("/radboud/theirs", headers={"Accept": "text/html"}).body.decode()
    assert "The operator of this registry" in page and "It memorised a patient" in page and "under any name" in page


def test_an_audit_may_still_be_added_to_what_is_withdrawn(house: House) -> None:
    assert push(house, "radboud/audited-late", artifact=bytes_of(107)).status == 200
    act(house, "curate", "yank", "radboud/audited-late", "--scope", "bytes", "--reason", "x")
    release = releases.make_release(repository="radboud/audited-late", artifact=bytes_of(107))
    audit = releases.resigned(release, audit_key=releases.AUDITOR).files
    files = {path: audit[path] for path in ("audit.json", audit_bundle_of("nki"))}
    assert pushes.commit(house.registry, "radboud/audited-late", files, token=house.nora).status == 200
    assert marks(house, "radboud/audited-late")[-1] == ("operator", "bytes"), "the new commit is withdrawn as well"


def test_erased_bytes_are_not_admitted_again_until_the_operator_allows_them(house: House) -> None:
    assert push(house, "lumc/erased", artifact=bytes_of(108)).status == 200
    act(house, "repo", "delete", "lumc/erased", "--reason", "consent withdrawn")  # the bytes, without a word
    digest = bytes_of(108).digest
    for repository in ("lumc/erased-again", "radboud/erased-elsewhere"):
        denied = push(house, repository, artifact=bytes_of(108))
        assert rule_of(denied) == (422, "withdrawn") and "consent withdrawn" in denied.json()["error"]
    act(house, "repo", "free", "lumc/erased")
    assert rule_of(push(house, "lumc/erased", artifact=bytes_of(108))) == (422, "withdrawn")
    assert digest in act(house, "curate", "digest", "list").output
    assert ask(house, "curate", "digest", "allow", digest, "--reason", "the wrong file was deleted")["lifted"] == 1
    assert push(house, "lumc/erased-again", artifact=bytes_of(108)).status == 200
    with pytest.raises(UsageError, match="nothing withdraws"):
        act(house, "curate", "digest", "allow", digest, "--reason", "x")


def test_allowed_bytes_leave_a_yank_of_the_release(house: House) -> None:
    assert push(house, "lumc/half", artifact=bytes_of(109)).status == 200
    act(house, "curate", "yank", "lumc/half", "--scope", "bytes", "--reason", "x")
    act(house, "curate", "digest", "allow", bytes_of(109).digest, "--reason", "only the card was wrong")
    assert marks(house, "lumc/half") == [("operator", "release")]
    assert push(house, "lumc/half", artifact=bytes_of(109), version="1.0.1").status == 200


def test_a_deletion_asks_for_its_scope_where_others_hold_the_bytes(house: House) -> None:
    assert push(house, "radboud/keeps", artifact=bytes_of(110)).status == 200
    assert push(house, "lumc/squatter", artifact=bytes_of(110)).status == 200
    with pytest.raises(RequestDeniedError, match="other repositories hold the bytes"):
        act(house, "repo", "delete", "lumc/squatter", "--reason", "a copy")
    act(house, "repo", "delete", "lumc/squatter", "--reason", "a copy", "--scope", "release")
    assert marks(house, "radboud/keeps") == [] and listed(house, "keeps")


@pytest.mark.parametrize("scope", ["everything", 7])
def test_a_scope_that_is_none(house: House, scope: object) -> None:
    push(house, "radboud/scoped", artifact=bytes_of(111))
    assert yank(house, "radboud/scoped", house.alice, reason="x", scope=scope).status == 400


# ── stolen keys ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def robbed(house: House) -> SigningKey:
    """lumc's second key, which a thief used before it was reported."""
    thief = releases.make_key("stolen from lumc")
    house.registry.add_key(thief, namespace="lumc")
    assert push(house, "lumc/victim", artifact=bytes_of(120)).status == 200
    assert push(house, "lumc/victim", key=thief, artifact=bytes_of(121), version="999999.999999.999999").status == 200
    assert push(house, "lumc/all-his", key=thief, artifact=bytes_of(122)).status == 200
    assert rule_of(push(house, "lumc/victim", artifact=bytes_of(123), version="1.0.1")) == (422, "rollback")
    act(house, "key", "revoke", thief.fingerprint, "--reason", "stolen")
    return thief


def test_a_thiefs_releases_leave_lists_and_main_and_are_marked(house: House, robbed: SigningKey) -> None:
    for name in ("victim", "all-his"):
        assert not listed(house, name)
        info = house.registry.get(f"/api/models/lumc/{name}").json()
        assert info["embhub"]["yanked"]["by"] == "key-stolen"
        assert marks(house, f"lumc/{name}") == [("key-stolen", "release")]
        for revision in ("main", info["embhub"]["version"]):
            gone = house.registry.get(f"/lumc/{name}/resolve/{revision}/{EMBEDDING}")
            assert gone.status == 410 and "stolen" in gone.json()["error"]
            assert house.registry.get(f"/api/models/lumc/{name}/tree/{revision}").status == 410
        exact = house.registry.get(f"/lumc/{name}/resolve/{info['sha']}/{EMBEDDING}")
        assert exact.status == 200 and exact.header("cache-control") == "no-cache"
        page = house.registry.get(f"/lumc/{name}", headers={"Accept": "text/html"}).body.decode()
        assert "reported stolen" in page and "do not use" in page


def test_stock_clients_do_not_get_a_thiefs_release(house: House, robbed: SigningKey, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RevisionNotFoundError

    with pytest.raises(RevisionNotFoundError, match="stolen"):
        hf_hub_download("lumc/all-his", EMBEDDING, endpoint=house.registry.url, cache_dir=tmp_path, token=False)


def test_main_moves_back_and_the_honest_publisher_goes_on(house: House, robbed: SigningKey) -> None:
    good = house.registry.get("/api/models/lumc/victim/revision/1.0.0").json()["sha"]
    bad = house.registry.get("/api/models/lumc/victim").json()["sha"]
    for commit in (bad, "0" * 40, "main"):
        with pytest.raises(EmbhubError):
            act(house, "repo", "main", "lumc/victim", "--to", commit, "--reason", "x")
    moved = ask(house, "repo", "main", "lumc/victim", "--to", good, "--reason", "the key was stolen")
    assert moved["version"] == "1.0.0" and moved["before"] == bad
    assert house.registry.get(f"/lumc/victim/resolve/main/{EMBEDDING}").status == 200 and listed(house, "victim")
    assert house.registry.get("/api/models?search=victim&full=true").json()[0]["embhub"]["version"] == "1.0.0"
    digest = bytes_of(120).digest
    assert push(house, "lumc/victim", artifact=bytes_of(123), version="1.0.1", replaces=digest).status == 200
    lines = [json.loads(line) for line in act(house, "audit", "export").stdout.splitlines()]
    assert any(line["event"] == "main-moved" and line["commit"] == good for line in lines)


def test_an_honest_version_follows_a_thiefs_without_moving_main(house: House, robbed: SigningKey) -> None:
    assert push(house, "lumc/all-his", artifact=bytes_of(124)).status == 200, "he published no 1.0.0 that counts"
    assert house.registry.get("/lumc/all-his/resolve/1.0.0/" + EMBEDDING).status == 200, (
        "the number is the honest one's"
    )
    assert listed(house, "all-his")


def test_signing_anew_brings_the_release_back(house: House) -> None:
    thief = releases.make_key("stolen later")
    house.registry.add_key(thief, namespace="lumc")
    assert push(house, "lumc/anew", key=thief, artifact=bytes_of(125)).status == 200
    act(house, "key", "revoke", thief.fingerprint, "--reason", "stolen")
    assert not listed(house, "anew")
    assert push(house, "lumc/anew", artifact=bytes_of(125)).status == 200
    assert listed(house, "anew") and house.registry.get(f"/lumc/anew/resolve/main/{EMBEDDING}").status == 200


# ── caches ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_caches_may_keep_files_for_minutes_and_ask_again(house: House) -> None:
    commit = push(house, "radboud/cached", artifact=bytes_of(130)).json()["commitOid"]
    path = f"/radboud/cached/resolve/{commit}/{EMBEDDING}"
    before = house.registry.get(path)
    kept = str(before.header("cache-control"))
    assert "must-revalidate" in kept and "immutable" not in kept and int(kept.split("max-age=")[1].split(",")[0]) <= 600
    unchanged = house.registry.get(path, headers={"If-None-Match": str(before.header("etag"))})
    assert unchanged.status == 304
    assert yank(house, "radboud/cached", house.alice, reason="x").status == 200
    again = house.registry.get(path, headers={"If-None-Match": str(before.header("etag"))})
    assert again.status == 304 and again.header("cache-control") == "no-cache"
    act(house, "repo", "delete", "radboud/cached", "--reason", "consent withdrawn")
    gone = house.registry.get(path, headers={"If-None-Match": str(before.header("etag"))})
    assert gone.status == 410 and gone.header("cache-control") == "no-store"


# ── advisories ───────────────────────────────────────────────────────────────────────────────────────────────────────


def told(registry: Registry) -> tuple[int, tuple[Advisory, ...]]:
    envelope = advisories.current_envelope(registry)
    assert envelope is not None
    found = Advisories.parse(envelope, _key(registry.trust()))
    return found.number, found.entries


def test_advisories_tell_of_every_withdrawal_under_a_number_that_grows(house: House) -> None:
    assert push(house, "radboud/feed", artifact=bytes_of(140)).status == 200
    with house.registry.opened() as registry:
        first, before = told(registry)
        assert told(registry)[0] == first, "nothing changed, so neither does the number"
        assert yank(house, "radboud/feed", house.alice, reason="swapped labels", scope="bytes").status == 200
        second, after = told(registry)
        (new, release) = sorted(set(after) - set(before), key=lambda entry: entry.scope)
        assert second > first and (new.scope, new.by, new.reason) == ("bytes", "publisher", "swapped labels")
        assert release.scope == "release" and release.version == "1.0.0" and release.repository == "radboud/feed"
        assert new.digest == bytes_of(140).digest
        assert yank(house, "radboud/feed", house.alice, "DELETE").status == 200
        third, lifted = told(registry)
        assert third > second and all(row.withdrawn_on for row in lifted if row.digest == new.digest)


def test_a_deleted_repository_keeps_its_advisories_and_a_new_one_of_its_name_lifts_none(house: House) -> None:
    assert push(house, "lumc/reborn", artifact=bytes_of(141)).status == 200
    act(house, "repo", "delete", "lumc/reborn", "--reason", "consent withdrawn")
    act(house, "repo", "free", "lumc/reborn")
    assert push(house, "lumc/reborn", artifact=bytes_of(142)).status == 200
    with house.registry.opened() as registry:
        (row,) = [row for row in told(registry)[1] if row.digest == bytes_of(141).digest]
        assert row.withdrawn_on is None and (row.scope, row.by, row.reason) == (
            "bytes",
            "operator",
            "consent withdrawn",
        )


def test_the_feed_names_no_private_repository_and_no_reason_of_one(house: House) -> None:
    body = {"name": "hidden-study", "type": "model", "private": True}
    assert house.registry.request("POST", "/api/repos/create", token=house.alice, json_body=body).status == 200
    release = releases.make_release(repository="radboud/hidden-study", artifact=bytes_of(143))
    files = dict(release.files)
    assert pushes.commit(house.registry, "radboud/hidden-study", files, token=house.alice).status == 200
    asked = {"reason": "rare-disease-x", "scope": "bytes"}
    assert yank(house, "radboud/hidden-study", house.alice, **asked).status == 200
    for path in ("/trust/advisories", "/trust/advisories?format=json", "/embhub/v1/advisories.atom"):
        assert "hidden-study" not in house.registry.get(path).body.decode()
    with house.registry.opened() as registry:
        envelope = advisories.current_envelope(registry)
        assert envelope is not None
        text = envelope.payload.decode()
        assert "hidden-study" not in text and "rare-disease-x" not in text and bytes_of(143).digest in text
        found = Advisories.parse(envelope, _key(registry.trust()))
        release_of = {"namespace": "radboud", "repository": "radboud/hidden-study", "version": "1.0.0"}
        assert found.against(**release_of, digest=bytes_of(143).digest), "who holds the bytes finds them"


def test_stolen_keys_stand_in_the_feed(house: House, robbed: SigningKey) -> None:
    with house.registry.opened() as registry:
        row = next(row for row in told(registry)[1] if row.digest == bytes_of(121).digest)
        assert (row.by, row.scope, row.withdrawn_on) == ("key-stolen", "release", None)


def test_what_was_stolen_before_an_upgrade_is_judged_when_the_registry_is_opened(
    house: House, robbed: SigningKey
) -> None:
    def forget(db: Connection) -> None:
        db.execute("DELETE FROM yank WHERE authority = 'key-stolen'")
        db.execute("DELETE FROM setting WHERE name = ?", (stolen_keys.JUDGED,))

    with house.registry.opened() as registry, registry.database.writing() as db:
        before = {tuple(row) for row in db.execute("SELECT * FROM yank WHERE authority = 'key-stolen'")}
        forget(db)
    assert before
    with house.registry.opened() as registry:
        assert {
            tuple(row)
            for row in registry.database.connection().execute("SELECT * FROM yank WHERE authority = 'key-stolen'")
        } == before


def test_the_trust_export_carries_the_newest_advisories_and_a_timestamp_that_names_them(house: House) -> None:
    assert push(house, "radboud/exported", artifact=bytes_of(144)).status == 200
    assert yank(house, "radboud/exported", house.alice, reason="swapped").status == 200
    exported = keyrings.parse_export(house.registry.get("/embhub/v1/trust").body)
    trust = keyrings.open_export(exported, root_fingerprint=house.registry.root_fingerprint)
    listed = kept_advisories.opened(trust)
    assert listed is not None and any(row.digest == bytes_of(144).digest for row in listed.entries)
    assert trust.timestamp is not None and trust.timestamp.advisories is not None
    assert trust.timestamp.advisories.number == listed.number
    served = Advisories.parse(house.registry.get("/embhub/v1/advisories").body, _key(trust))
    assert served == listed


def _key(trust: Trust) -> p256.PublicKey:
    key = trust.keyring.online_key("advisories")
    assert key is not None
    return key


def test_people_and_feed_readers_are_told(house: House) -> None:
    from xml.etree import ElementTree

    name = "told-everywhere"
    assert push(house, f"radboud/{name}", artifact=bytes_of(150)).status == 200
    assert yank(house, f"radboud/{name}", house.alice, reason="a <b>bold</b> & wrong label").status == 200
    page = house.registry.get("/trust/advisories", headers={"Accept": "text/html"}).body.decode()
    assert f"radboud/{name}" in page and "&lt;b&gt;bold" in page and "<b>bold" not in page
    rows = house.registry.get("/trust/advisories?format=json").json()["advisories"]
    assert next(row for row in rows if row["repository"] == f"radboud/{name}")["by"] == "publisher"
    feed = ElementTree.fromstring(house.registry.get("/embhub/v1/advisories.atom").body)  # our own
    titles = [
        entry.findtext("{http://www.w3.org/2005/Atom}title") for entry in feed.iter() if entry.tag.endswith("entry")
    ]
    assert f"radboud/{name} 1.0.0: withdrawn" in titles


def test_a_closed_registrys_advisories_name_no_repository(house: House) -> None:
    assert push(house, "radboud/closed-name", artifact=bytes_of(151)).status == 200
    assert yank(house, "radboud/closed-name", house.alice, reason="closed-reason").status == 200
    act(house, "setting", "set", "read.anonymous", "no")
    try:
        with house.registry.opened() as registry:
            envelope = advisories.current_envelope(registry)
            assert envelope is not None
            assert b"closed-name" not in envelope.payload and b"closed-reason" not in envelope.payload
            assert bytes_of(151).digest.encode() in envelope.payload
        assert house.registry.get("/trust/advisories").status == 401
    finally:
        act(house, "setting", "set", "read.anonymous", "yes")
