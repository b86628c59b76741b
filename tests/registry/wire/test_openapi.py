"""`/openapi.json`: every address and nothing else, and what servers answer is what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from embhub_registry.app import ROUTES
from embhub_registry.wire.registry_api import openapi
from tests.registry.conftest import House
from tests.support import pushes, releases
from tests.support.people import Person
from tests.support.quick import examples
from tests.support.servers import RunningRegistry, running_registry

DOCUMENT = json.loads(openapi.encode(ROUTES))
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
]
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
VALUES = {
    "namespace": "radboud", "name": "prostate-cspca", "revision": "main", "path": "README.md", "status": "pending",
    "digest": "0" * 64, "hash": "0" * 64, "rest": "x", "file": "style.css", "secret": "none", "proposal": "0" * 40,
    "what": "test", "fingerprint": "0" * 64, "link": "0" * 16,
}  # fmt: skip


def test_it_is_what_the_specification_calls_a_document() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


def test_it_has_every_route_and_nothing_else() -> None:
    routes = {
        (method.lower(), route.path.replace(":path}", "}"))
        for route in ROUTES
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert {(method, path) for method, path, _ in OPERATIONS} == routes and len(routes) > 130
    for path, item in DOCUMENT["paths"].items():
        assert [one["name"] for one in item["parameters"]] == re.findall(r"\{(\w+)\}", path)
    assert [path for _, path, operation in OPERATIONS if not operation["summary"]] == []


def test_anybody_reads_it_and_may_keep_it(house: House) -> None:
    answer = house.registry.get(openapi.PATH)
    assert answer.status == 200 and answer.json() == DOCUMENT
    assert answer.header("Content-Type") == "application/json" and "public" in str(answer.header("Cache-Control"))


class Fuzzed(NamedTuple):
    """A registry with a release, who may ask it as programs do, and the cookies and form of an admin's browser."""

    registry: RunningRegistry
    tokens: tuple[str | None, ...]
    cookies: str
    form_token: str


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with running_registry(tmp_path_factory.mktemp("fuzzed")) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        alice = registry.add_user("alice", namespace="radboud")
        assert pushes.create(registry, VALUES["name"], token=alice).status == 200
        files = dict(releases.make_release(audited=False).files)
        assert pushes.commit(registry, releases.REPOSITORY, files, token=alice).status == 200
        assert pushes.create(registry, "gone", token=alice).status == 200
        gone = {"name": "gone", "organization": "radboud"}
        assert registry.request("DELETE", "/api/repos/delete", token=alice, json_body=gone).status == 200
        registry.run("setting", "set", "rate.exempt", "127.0.0.1")
        admin = Person(registry)
        admin.use_link("admin")
        admin.open("/account")
        cookies = "; ".join(f"{name}={value}" for name, value in admin.cookies.items())
        form_token = admin.form("/account/tokens")["form_token"]
        yield Fuzzed(registry, (None, "hf_emb_unknown", alice, registry.admin), cookies, form_token)


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_it_says_where_a_token_is_needed(fuzzed: Fuzzed, method: str, path: str, operation: dict[str, Any]) -> None:
    """Nobody's request is refused for want of a token where it says so, and nowhere else."""
    body: dict[str, str] | None = None if method == "get" else {}
    answer = fuzzed.registry.request(
        method.upper(), path.format(**VALUES), json_body=body, headers={"Origin": fuzzed.registry.url}
    )
    if operation["security"] == [{"token": []}]:
        assert answer.status == 401
    else:
        assert answer.status != 401
    assert str(answer.status) in operation["responses"] and answer.status < 500


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("post", "/api/repos/create", "", {"name": "gone", "organization": "radboud"}),
        ("delete", "/api/repos/delete", "", {"name": "gone", "organization": "radboud"}),
        ("get", "/compare", "?with=radboud/gone&with=radboud/gone", None),
        ("get", "/embhub/v1/status/{namespace}/gone", "", None),
        ("get", "/api/models/{namespace}/gone", "", None),
    ],
)
def test_it_says_what_is_answered_of_a_deleted_repository(
    fuzzed: Fuzzed, method: str, path: str, query: str, body: dict[str, str] | None
) -> None:
    address = path.format(**VALUES) + query
    answer = fuzzed.registry.request(method.upper(), address, token=fuzzed.tokens[2], json_body=body)
    assert str(answer.status) in DOCUMENT["paths"][path.replace("gone", "{name}")][method]["responses"]


ODD = [
    " ", ".", "..", "0", "-1", "1", "9" * 40, "nan", "1e400", "é", "а", "\0", "a\nb", "\x1f", "x" * 300, "%", "%2F",
    "a/b", "refs/heads/main", releases.REPOSITORY, "0" * 12, "hf_emb_" + "x" * 43, "1.0.0", "yes", "true", "2026-13-45",
    "release", "bytes", "2026-12-01T00:00:00Z", "https://[", "http://127.0.0.1:1", "SHA256:" + "A" * 43, "text/html",
    "gone", "radboud/gone", "embedding.safetensors", "approve", "decline", "embargo", "add", "remove", "publish",
    *VALUES.values(),
]  # fmt: skip
REFERENCE = Path(__file__).parents[3] / "docs/reference/registry-api.md"
FIELDS = sorted(set(re.findall(r"`([a-zA-Z_]{2,30})`", REFERENCE.read_text())) | {"q", "with", "key", "path", "file"})
TEXTS = st.sampled_from(ODD) | st.text(max_size=30)
ENCODED = TEXTS.map(lambda text: quote(text, safe="")) | st.binary(min_size=1, max_size=8).map(quote)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
ANY = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), ANY, max_size=6)
COMMITS = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["header", "file", "deletedFile", "deletedFolder"]), "value": OBJECTS}
    )
)
BODIES = st.one_of(
    OBJECTS.map(lambda found: ("application/json", json.dumps(found).encode())),
    COMMITS.map(lambda found: ("application/x-ndjson", "\n".join(map(json.dumps, found)).encode())),
    st.binary(max_size=60).map(lambda found: ("text/plain", found)),
)
FORMS = st.dictionaries(st.sampled_from(FIELDS), TEXTS, max_size=6)
HEADERS = st.fixed_dictionaries(
    {"Accept": st.sampled_from(["text/html", "application/json"])},
    optional={
        "Range": st.sampled_from(["bytes=0-9", "bytes=99999999-", "bytes=-0", "bytes=9-1", "x"]),
        "If-Match": st.sampled_from(['"x"', "*", ","]),
        "If-None-Match": st.sampled_from(["W/", "*", '"x"']),
    },
)


@st.composite
def requests(draw: st.DrawFn, path: str) -> tuple[str, dict[str, str], tuple[str, bytes], dict[str, str]]:
    """An address with its parameters and a query; headers; a body with its type; the fields of a form."""
    values = {
        name: draw(st.just(VALUES[name]) | ENCODED.filter(lambda text: text.replace("%", "") != ""))
        for name in re.findall(r"\{(\w+)\}", path)
    }
    query = draw(st.dictionaries(st.sampled_from(FIELDS), ENCODED, max_size=4))
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"{path.format(**values)}?{asked}", draw(HEADERS), draw(BODIES), draw(FORMS)


@pytest.mark.thorough
@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=NAMES)
def test_whatever_is_sent_the_answer_is_one_that_it_says(
    fuzzed: Fuzzed, method: str, path: str, operation: dict[str, Any]
) -> None:
    """No 5xx, and documented answers only: two checks of schemathesis, which makes bodies from a document's schemas.

    The document leaves bodies open, so schemathesis would send few fields that any address reads, and no form with the
    token and cookie of its page. Here the names of fields are those of the reference, and forms come from a session.
    """
    is_form = operation["security"][-1:] == [{"session": []}] and not path.startswith("/account/logout")

    @settings(max_examples=examples(6), deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(request=requests(path), token=st.sampled_from(fuzzed.tokens), as_person=st.booleans())
    def ask(
        request: tuple[str, dict[str, str], tuple[str, bytes], dict[str, str]], token: str | None, as_person: bool
    ) -> None:
        address, headers, (media, body), fields = request
        if is_form and as_person:
            token, media = None, "application/x-www-form-urlencoded"
            headers = headers | {"Cookie": fuzzed.cookies, "Origin": fuzzed.registry.url}
            body = urlencode(fields | {"form_token": fuzzed.form_token}).encode()
        sent = headers if method == "get" else headers | {"Content-Type": media}
        answer = fuzzed.registry.request(
            method.upper(), address, token=token, headers=sent, body=None if method == "get" else body
        )
        assert str(answer.status) in operation["responses"] and answer.status < 500, answer

    ask()
