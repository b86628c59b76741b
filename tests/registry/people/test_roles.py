"""Each role against each address that changes or hides something, over the wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from embhub_registry.people import members
from embhub_registry.people.roles import ROLES
from tests.registry.conftest import House
from tests.registry.people.test_people import MAY
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry

FAR = {"X-Forwarded-For": "192.0.2.50"}


def delete(registry: RunningRegistry, name: str, token: str) -> Answer:
    body = {"name": name, "organization": "roles"}
    return registry.request("DELETE", "/api/repos/delete", token=token, json_body=body)


def put(registry: RunningRegistry, name: str, token: str, **body: object) -> Answer:
    return registry.request("PUT", f"/api/models/roles/{name}/settings", token=token, json_body=body)


# Each: the action of `MAY`, and a call that tries it as `role` with that role's token.
CALLS: dict[str, Callable[[RunningRegistry, str, str], Answer]] = {
    "read-private": lambda r, role, token: r.get("/api/models/roles/hidden", token=token),
    "create": lambda r, role, token: r.request(
        "POST", "/api/repos/create", token=token, json_body={"name": f"by-{role}", "organization": "roles"}
    ),
    "publish": lambda r, role, token: pushes.commit(
        r, "roles/draft", {"README.md": f"# {role}\n".encode()}, token=token
    ),
    "attest": lambda r, role, token: r.get("/api/models/roles/release/auth-check/write", token=token),
    "refs": lambda r, role, token: r.request(
        "POST", "/api/models/roles/draft/tag/main", token=token, json_body={"tag": f"t-{role}"}
    ),
    "settings": lambda r, role, token: put(r, "draft", token, private=False),
    "hide-released": lambda r, role, token: put(r, "release", token, gated="manual", private=True),
    "yank": lambda r, role, token: r.request(
        "POST", "/embhub/v1/yank/roles/release", token=token, json_body={"reason": role}
    ),
    "delete-unreleased": lambda r, role, token: delete(r, f"empty-{role}", token),
    "delete-released": lambda r, role, token: delete(r, f"release-{role}", token),
    "operate": lambda r, role, token: r.get("/metrics", token=token, headers=FAR),
}
REFUSED = {"read-private": {404}}  # what one may not see looks absent


@pytest.fixture(scope="module")
def tokens(house: House) -> dict[str, str]:
    """A token of each role in the namespace `roles`, which has what the calls need."""
    registry = house.registry
    made = {role: registry.add_user(f"r-{role}", namespace="roles", role=role) for role in ROLES}
    made |= {f"foreign {role}": registry.add_user(f"f-{role}", namespace="elsewhere", role=role) for role in ROLES}
    registry.add_key(releases.OTHER_SITE, namespace="roles")
    publisher = made["publisher"]
    for name in ("draft", "release", *(f"{kind}-{role}" for kind in ("empty", "release") for role in made)):
        assert pushes.create(registry, name.replace(" ", "-"), token=publisher).status == 200
    body = {"name": "hidden", "private": True}
    assert registry.request("POST", "/api/repos/create", token=publisher, json_body=body).status == 200
    for name in ("release", *(f"release-{role}".replace(" ", "-") for role in made)):
        release = releases.make_release(repository=f"roles/{name}", key=releases.OTHER_SITE, audited=False)
        assert pushes.commit(registry, f"roles/{name}", dict(release.files), token=publisher).status == 200
    return made


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize("role", ROLES)
def test_every_role_at_every_address(house: House, tokens: dict[str, str], role: str, action: str) -> None:
    abroad = role == "admin" or (role, action) == ("auditor", "attest")  # an independent audit comes from elsewhere
    for who, allowed in ((role, role in MAY[action]), (f"foreign {role}", abroad)):
        if who.startswith("foreign") and action == "operate":
            continue  # it is of no namespace
        answer = CALLS[action](house.registry, who.replace(" ", "-"), tokens[who])
        assert (answer.status == 200) is allowed, (who, answer.status, answer.body[:200])
        if not allowed:
            assert answer.status in REFUSED.get(action, {403, 404} if who.startswith("foreign") else {403})
        if action == "hide-released" and allowed:
            assert put(house.registry, "release", tokens["admin"], private=False, gated=False).status == 200


def test_a_token_of_small_scope_is_refused_what_its_account_may(house: House, tokens: dict[str, str]) -> None:
    del tokens
    with house.registry.opened() as opened:
        from embhub_registry.operation import administration

        read = str(administration.new_token(opened, "r-publisher", scope="read")["token"])
        narrow = str(administration.new_token(opened, "r-admin", scope="publish")["token"])
    assert CALLS["read-private"](house.registry, "x", read).status == 200
    for action in ("create", "publish", "refs", "settings", "yank"):
        answer = CALLS[action](house.registry, "x", read)
        assert answer.status == 403 and answer.json()["rule"] == "scope" and "--scope" in answer.json()["remedy"]
    for action in ("delete-released", "operate"):
        assert CALLS[action](house.registry, "publisher", narrow).status == 403


def test_what_is_private_is_nowhere_to_be_seen(house: House, tokens: dict[str, str]) -> None:
    commit = house.registry.get("/api/models/roles/hidden", token=tokens["reader"]).json()["sha"]
    paths = [
        "/roles/hidden", f"/roles/hidden/commit/{commit}", f"/roles/hidden/resolve/{commit}/README.md",
        "/roles/hidden/resolve/main/README.md", f"/roles/hidden/audit/{commit}", "/embhub/v1/status/roles/hidden",
        *(f"/api/models/roles/hidden/{rest}" for rest in ("refs", "tree/main", "commits/main", "auth-check")),
    ]  # fmt: skip
    listing = "/api/models?author=roles&limit=1000"
    for token in (None, tokens["foreign publisher"], tokens["foreign auditor"], house.alice):
        assert {house.registry.get(path, token=token).status for path in paths} == {404}
        absent = house.registry.get("/api/models/roles/never-was", token=token)
        hidden = house.registry.get("/api/models/roles/hidden", token=token)
        assert hidden.body.replace(b"hidden", b"never-was") == absent.body, "no word tells it from one that never was"
        for address in (listing, "/api/models?search=hidden", "/roles", "/?q=hidden", "/"):
            assert b"roles/hidden" not in house.registry.get(address, token=token).body
    assert b"roles/hidden" in house.registry.get(listing, token=tokens["reader"]).body
    joined = house.registry.add_user("guest", namespace="elsewhere", role="reader")
    with house.registry.opened() as opened:
        members.join(opened, "guest", namespace="roles", role="reader")
    assert b"roles/hidden" in house.registry.get(listing, token=joined).body
