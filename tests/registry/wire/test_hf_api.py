"""The wire beyond what stock clients send: bad bodies, bad tokens, bad names. Nothing is stored, nothing is a 500."""

from __future__ import annotations

import base64
import json
import socket
import time
from typing import Any

import pytest

from embhub.release.files import EMBEDDING
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.operation import administration
from embhub_registry.wire.hub_api import hf_api
from tests.registry.conftest import House
from tests.support import releases
from tests.support.servers import Answer

UNREADABLE = [b"{", b"[]", b"\xff", b'{"name": "x", "name": "y"}', b"null", b'{"name": 3}', b"[" * 100_000]


def create(house: House, name: str, *, token: str | None = None, **body: Any) -> Answer:
    return house.registry.request(
        "POST", "/api/repos/create", token=token or house.alice, json_body={"name": name, "type": "model", **body}
    )


def send(house: House, repository: str, files: dict[str, bytes], *, token: str | None = None) -> Answer:
    lines = [{"key": "header", "value": {"summary": "x"}}]
    lines += [
        {"key": "file", "value": {"path": p, "content": base64.b64encode(d).decode(), "encoding": "base64"}}
        for p, d in files.items()
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    path = f"/api/models/{repository}/commit/main"
    return house.registry.request("POST", path, token=house.alice if token is None else token, body=body)


def blobs(house: House) -> set[str]:
    with house.registry.opened() as opened:
        return set(opened.blobs.stored())


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
@pytest.mark.parametrize(
    "path", ["/api/repos/create", "/api/validate-yaml", "/api/models/radboud/unread/preupload/main"]
)
def test_unreadable_json_is_400(house: House, path: str, body: bytes) -> None:
    create(house, "unread")
    answer = house.registry.request("POST", path, token=house.alice, body=body)
    assert answer.status == 400
    assert answer.header("x-error-message") and answer.json()["remedy"]


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"organization": "nowhere"}, "namespace"),
        ({"organization": "lumc"}, "namespace"),
        ({"organization": "api"}, "name"),
        ({"organization": "embhub"}, "name"),
        ({"organization": "rаdboud"}, "name"),  # a Cyrillic letter
        ({"organization": ".."}, "name"),
        ({"name": "prоstate"}, "name"),  # a Cyrillic letter
        ({"name": "a/../b"}, "name"),
        ({"name": "x" * 200}, "name"),
        ({"name": "a..b"}, "name"),
        ({"name": "x.git"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_names_and_namespaces_that_are_refused(house: House, body: dict[str, Any], rule: str) -> None:
    answer = create(house, **{"name": "fine", **body})
    assert answer.json()["rule"] == rule
    assert answer.status == (403 if rule == "namespace" else 400)
    assert answer.json()["remedy"]


def test_an_unknown_namespace_says_what_to_do(house: House) -> None:
    answer = create(house, "fine", organization="nowhere")
    message = str(answer.header("x-error-message"))
    assert "'nowhere' does not exist" in message and "'radboud'" in message


def test_names_that_differ_by_case_alone(house: House) -> None:
    assert create(house, "Folded").status == 200
    answer = create(house, "folded")
    assert answer.status == 409 and "by case alone" in answer.json()["error"]
    assert answer.json()["url"] == f"{house.registry.url}/radboud/Folded"


def test_tokens(house: House) -> None:
    registry = house.registry

    def status(token: str) -> tuple[int, str]:
        answer = registry.get("/api/whoami-v2", token=token)
        return answer.status, answer.json().get("error", "")

    expired = registry.add_user("expired", namespace="radboud", days=0)
    revoked = registry.add_user("revoked", namespace="radboud")
    assert status(revoked)[0] == 200, "a running server sees a user that was added beside it"
    with registry.opened() as opened:
        administration.revoke_token(opened, "revoked")
    for token, words in (
        (expired, "expired"),
        (revoked, "revoked"),
        ("hf_emb_" + "x" * 43, "does not know"),
        ("é", "not know"),
    ):
        code, message = status(token)
        assert code == 401 and words in message
    assert registry.get("/api/whoami-v2").status == 401
    assert registry.get("/api/whoami-v2", headers={"Authorization": "Basic eDp5"}).status == 401
    assert registry.get("/", token="hf_emb_bad").status == 401, "a bad token is named even where none is needed"
    registry.stop()  # what is noted now and then is written at the latest when the server ends
    registry.start()
    audit_log = (registry.folder / "audit.jsonl").read_text()
    assert '"login-failed"' in audit_log
    assert not any(token in audit_log + registry.log.read_text() for token in (expired, revoked, house.alice))
    with registry.opened() as opened:
        opened.database.copy_to(copy := registry.folder.parent / "copy.db")
    assert house.alice.encode() not in copy.read_bytes()


def test_a_foreign_publisher_is_refused(house: House) -> None:
    create(house, "mine")
    answer = send(house, "radboud/mine", {"README.md": b"# x"}, token=house.lea)
    assert answer.status == 403
    assert "belongs to the namespace 'lumc'" in str(answer.header("x-error-message"))
    assert send(house, "radboud/mine", {"README.md": b"# x"}, token="hf_emb_wrong").status == 401
    nobody = house.registry.request("POST", "/api/models/radboud/mine/commit/main", body=b"{}")
    assert nobody.status == 401


def test_a_refused_release_leaves_no_blob_and_is_in_the_audit_log(house: House) -> None:
    create(house, "refused")
    release = releases.make_release(repository="radboud/refused", key=releases.STRANGER)
    before = blobs(house)
    answer = send(house, "radboud/refused", dict(release.files))
    assert (answer.status, answer.json()["rule"]) == (422, "unknown-signer")
    message = str(answer.header("x-error-message"))
    assert message.startswith("unknown-signer: ") and answer.json()["remedy"] in message
    assert blobs(house) == before
    end, found = time.monotonic() + 30, list[dict[str, Any]]()
    while not found and time.monotonic() < end:  # refusals are counted, and written every five seconds
        time.sleep(0.2)
        rows = [json.loads(line) for line in (house.registry.folder / "audit.jsonl").read_text().splitlines()]
        found = [row for row in rows if row["event"] == "refused" and row["repository"] == "radboud/refused"]
    assert {(row["rule"], row["user"], row["actor"]) for row in found} == {("unknown-signer", "alice", "alice")}


@pytest.mark.parametrize(
    "front", [b"x: !!float .nan", b'x: "\\ud800"', b"tags: 5", b"x: !!timestamp 2001-01-01", b"x: 1.0e+999"]
)
def test_odd_front_matter_breaks_no_list(house: House, front: bytes) -> None:
    create(house, "odd")
    assert send(house, "radboud/odd", {"README.md": b"---\n" + front + b"\n---\n"}).status == 200
    for path in ("/api/models?full=true", "/", "/radboud", "/api/models/radboud/odd", "/radboud/odd"):
        answer = house.registry.get(path)
        assert answer.status == 200, path
        if path.startswith("/api/"):
            json.loads(answer.body.decode(), parse_constant=pytest.fail)


def test_files_are_refused_before_they_travel(house: House) -> None:
    create(house, "early")
    for path, size, rule in ((EMBEDDING, 2_000_000_000, "file-size"), ("model.bin", 3, "weights-format")):
        answer = house.registry.request(
            "POST", "/api/models/radboud/early/preupload/main", token=house.alice,
            json_body={"files": [{"path": path, "size": size, "sample": ""}]},
        )  # fmt: skip
        assert (answer.status, answer.json()["rule"]) == (422, rule)


def test_a_body_past_its_limit_is_413(house: House) -> None:
    create(house, "large")
    path = "/api/models/radboud/large/commit/main"
    answer = house.registry.request("POST", path, token=house.alice, body=b"x" * 7_000_000)
    assert answer.status == 413 and answer.json()["remedy"]


def test_a_body_without_an_announced_length_is_measured_too(house: House) -> None:
    host, port = house.registry.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(
            b"POST /api/models/radboud/large/commit/main HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer "
            + house.alice.encode()
            + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(70):
            line.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        line.sendall(b"0\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/radboud/..%2f..%2fregistry.db",
        "/radboud/large/resolve/main/..%2f..%2f..%2fregistry.db",
        "/radboud/large/resolve/..%2f..%2fx/README.md",
        "/static/..%2fapp.py",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/radboud/large/resolve/main/%00",
        "/%0d%0aSet-Cookie:x=y",
        "/" + "a" * 5000,
        "/api/nothing",
        "/api/models/radboud",
        "/nowhere",
    ],
)
def test_addresses_that_lead_nowhere(house: House, path: str) -> None:
    answer = house.registry.get(path)
    assert answer.status in {400, 404}
    assert b"SQLite" not in answer.body and answer.header("set-cookie") is None


def test_wrong_methods_and_parameters(house: House) -> None:
    assert house.registry.request("POST", "/healthz", body=b"").status == 405
    for query in ("limit=0", "limit=-1", "limit=x", "sort=name", "cursor=x", "cursor=WzEsMl0", "cursor=W1tdLCAxXQ=="):
        assert house.registry.get(f"/api/models?{query}").status in {200, 400}, query
    assert house.registry.get("/api/models?search=%22%27%25_%3B--").status == 200
    assert house.registry.get("/api/models?limit=99999999999999999999").status == 200


@pytest.mark.parametrize(
    "value",
    [b"[" * 100_000, b'["' + b"x" * 3000 + b'", 1]', b'["2026", 1e999]', b"[1" + b"0" * 30 + b", 1]", b"[true, 1]",
     b'["\\ud800", 1]', b"[NaN, 1]", b'{"a": 1, "a": 2}', b"[1, true]", b"", b"[1, 2, 3]"],
    ids=range(11),
)  # fmt: skip
def test_a_cursor_of_ones_own_making(house: House, value: bytes) -> None:
    with pytest.raises(RequestDeniedError) as caught:
        hf_api.read_cursor(base64.urlsafe_b64encode(value).decode())
    assert caught.value.status == 400
    if len(value) < 1000:
        for path in ("/api/models?cursor=", "/?after="):
            assert house.registry.get(path + base64.urlsafe_b64encode(value).decode()).status == 400


def test_a_cursor_comes_back_as_it_was_given() -> None:
    for value in ("2026-11-20T10:30:00.000Z", 7, 0):
        assert hf_api.read_cursor(hf_api.make_cursor(value, 12)) == (value, 12)
    assert hf_api.read_cursor(None) is None


def test_a_publisher_does_not_hide_what_was_published(house: House) -> None:
    create(house, "shown")
    path = "/api/models/radboud/shown/settings"

    def hide(private: bool, token: str) -> int:
        return house.registry.request("PUT", path, token=token, json_body={"private": private}).status

    assert (hide(True, house.alice), hide(False, house.alice)) == (200, 200), "before a release it may"
    assert send(house, "radboud/shown", dict(releases.make_release(repository="radboud/shown").files)).status == 200
    assert hide(True, house.alice) == 403
    assert house.registry.get("/api/models/radboud/shown").status == 200
    assert hide(True, house.registry.admin) == 200
    assert house.registry.get("/api/models/radboud/shown").status == 404
    assert (hide(True, house.alice), hide(False, house.alice)) == (200, 200), "showing it is no loss to anybody"


def test_a_slash_in_a_branch_is_encoded(house: House) -> None:
    create(house, "branched")
    made = house.registry.request("POST", "/api/models/radboud/branched/branch/a%2Fb", token=house.alice, json_body={})
    assert made.status == 200
    assert house.registry.get("/api/models/radboud/branched/revision/a%2Fb").status == 200
    assert house.registry.get("/api/models/radboud/branched/revision/a/b").status == 404
    refused = house.registry.request("DELETE", "/api/models/radboud/branched/branch/main", token=house.alice)
    assert refused.status == 403
    for name in ("refs%2Fpr%2F1", "a%2F..%2Fb", "0" * 40, "%D0%B0"):
        answer = house.registry.request(
            "POST", f"/api/models/radboud/branched/branch/{name}", token=house.alice, json_body={}
        )
        assert answer.status == 400, name


def test_trust_and_health(house: House) -> None:
    assert house.registry.get("/healthz").body == b"ok\n"
    with house.registry.opened() as opened:
        assert house.registry.get("/embhub/v1/trust").body == opened.trust_export()


def test_only_an_admin_deletes_what_was_published(house: House) -> None:
    create(house, "release")
    files = dict(releases.make_release(repository="radboud/release").files)
    assert send(house, "radboud/release", files).status == 200
    body = {"name": "release", "organization": "radboud"}
    refused = house.registry.request("DELETE", "/api/repos/delete", token=house.alice, json_body=body)
    assert refused.status == 403 and "yank" in refused.json()["remedy"]
    assert (
        house.registry.request("DELETE", "/api/repos/delete", token=house.registry.admin, json_body=body).status == 200
    )
    gone = house.registry.get("/api/models/radboud/release")
    assert gone.status == 410 and gone.header("X-Error-Code") == "RepoNotFound"
    with house.registry.opened() as opened:
        from embhub_registry.operation.backups import checking

        assert checking.check(opened).clean


def test_downloads_are_counted(house: House) -> None:
    create(house, "counted")
    send(house, "radboud/counted", dict(releases.make_release(repository="radboud/counted").files))
    for _ in range(3):
        house.registry.get(f"/radboud/counted/resolve/main/{EMBEDDING}")
    house.registry.get("/radboud/counted/resolve/main/README.md")
    house.registry.stop()
    house.registry.start()
    assert house.registry.get("/api/models/radboud/counted").json()["downloads"] == 3
