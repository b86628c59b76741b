"""Names that read like others, tokens that are no good, addresses that lead out: refused, and nothing is stored."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from embhub.formats import names
from embhub_registry.people.names import RESERVED
from tests.registry.conftest import House
from tests.registry.wire.test_hostile_pushes import body
from tests.support import releases
from tests.support.servers import Answer


def create(house: House, name: str, organization: str = "radboud", token: str | None = None) -> Answer:
    document = {"name": name, "organization": organization}
    return house.registry.request("POST", "/api/repos/create", token=token or house.alice, json_body=document)


CONFUSABLE = [
    *("pr\u043estate", "\uff50rostate", "prostat\u0435", "pro\u200bstate", "pro\u00adstate", "prostate\u0301"),
    *("\u202eetatsorp", "prostate\ufeff", "pro\u2010state", "pro\u2024state", "pro\uff0estate", "\u24dfrostate"),
    *("pro\u017ftate", "pro\ufb06ate", "\u0131", "\u212a", "p\u2044q", "1\u0660"),
]


@pytest.mark.parametrize("name", CONFUSABLE, ids=ascii)
def test_names_are_ascii(house: House, name: str) -> None:
    answer = create(house, name)
    assert (answer.status, answer.json()["rule"]) == (400, "name")
    assert names.namespace_fault(name) and names.repository_fault(f"radboud/{name}")
    refused = create(house, "fine", organization=name)
    assert refused.status in {400, 403} and refused.json()["rule"] in {"name", "namespace"}


@pytest.mark.parametrize(
    ("present", "alike"),
    [
        ("Alike-One", "alike-one"),
        ("alike-two", "alike_two"),
        ("alike.three", "alike-three"),
        ("alike_four.x", "Alike-Four_X"),
    ],
)
def test_a_name_that_reads_like_one_that_is_there(house: House, present: str, alike: str) -> None:
    assert create(house, present).status == 200
    answer = create(house, alike)
    assert answer.status == 409 and f"radboud/{present} exists already, which differs" in answer.json()["error"]
    assert answer.json()["url"].endswith(f"/radboud/{present}")


def test_names_that_read_differently_are_taken(house: House) -> None:
    for name in ("model-v1.0", "model-v10", "model-v1.0x"):
        assert create(house, name).status == 200


@pytest.mark.parametrize("name", sorted(names.RESERVED | RESERVED))
def test_reserved_names_are_nobodys_namespace(house: House, name: str) -> None:
    for token in (house.alice, house.registry.admin):
        assert create(house, "x", organization=name, token=token).status in {400, 403}


def test_tokens_that_are_no_good_store_nothing(house: House) -> None:
    registry = house.registry
    assert create(house, "kept-from-tokens").status == 200
    expired = registry.add_user("late", namespace="radboud", days=0)
    revoked = registry.add_user("gone", namespace="radboud")
    reader = registry.add_user("looker", namespace="radboud", role="reader")
    listed = registry.run("token", "list", "--json").stdout
    identity = next(row["id"] for row in json.loads(listed)["tokens"] if row["user"] == "gone")
    registry.run("token", "revoke", identity)

    def push(token: str | None) -> tuple[int, str]:
        answer = registry.request(
            "POST", "/api/models/radboud/kept-from-tokens/commit/main", token=token, body=body({"README.md": b"# x\n"})
        )
        return answer.status, answer.json()["rule"]

    before = registry.get("/api/models/radboud/kept-from-tokens/commits/main").json()
    assert push(None) == (401, "token")
    assert push(expired) == push(revoked) == push("hf_emb_" + "A" * 43) == push("x" * 5000) == (401, "token")
    assert push(reader) == (403, "role")
    assert push(house.lea) == (403, "namespace")
    assert push(house.nora)[0] == 403
    assert registry.get("/api/models/radboud/kept-from-tokens/commits/main").json() == before


TRAVERSAL = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e%252fetc%252fpasswd",
    "..%5c..%5cetc%5cpasswd",
    "..\\..\\etc\\passwd",
    "%00",
    "app.css%00.txt",
    "%c0%ae%c0%ae/etc/passwd",
    "..;/etc/passwd",
    "//etc/passwd",
    "/etc/passwd",
    "....//etc/passwd",
    "%u002e%u002e/etc/passwd",
    "%ff%fe",
    "a" * 5000,
    "%0d%0aX-Bad:%201",
]
PREFIXES = ["/static/", "/radboud/reach/resolve/main/", "/api/models/radboud/reach/tree/main/", "/"]


@pytest.mark.parametrize("path", TRAVERSAL, ids=lambda path: path[:30])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_addresses_that_lead_out(house: House, prefix: str, path: str) -> None:
    """Sent raw: a polite client would tidy them."""
    create(house, "reach")
    host, port = house.registry.url.removeprefix("http://").split(":")
    line = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        line.putrequest("GET", prefix + path, skip_accept_encoding=True)
        line.endheaders()
        answer = line.getresponse()
        content = answer.read()
    finally:
        line.close()
    assert answer.status in {400, 404, 307}, content[:200]
    assert b"root:" not in content and answer.getheader("X-Bad") is None
    assert str(Path(house.registry.folder)).encode() not in content
    assert releases.ROOT.fingerprint.encode() not in content
