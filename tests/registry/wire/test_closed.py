"""A closed registry: no address answers without an access token, but for health and trust."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from starlette.routing import Route

from embhub.release.files import EMBEDDING
from embhub_registry.app import ROUTES
from embhub_registry.storage import configuration
from tests.support import pushes, releases
from tests.support.servers import Answer, RunningRegistry, running_registry

OPEN = {  # written out: whoever opens another address changes this test
    "/healthz",
    "/readyz",
    "/openapi.json",  # the addresses of every registry
    "/embhub/v1/trust",
    "/embhub/v1/seen",
    "/.well-known/security.txt",  # who finds a fault has no token
    "/embhub/v1/advisories",  # names no repository where the registry is closed
    "/static/style.css",
}
LOGIN = {  # these pages name neither the registry nor anything in it
    "/login", "/login/code", "/login/passkey", "/login/passkey/answer", "/login/provider", "/login/provider/callback",
    "/login/link/none", "/login/device", "/login/reviewer", "/login/reviewer/leave", "/login/reviewer/audit",
    "/login/reviewer/file/README.md", "/embhub/v1/device/code", "/embhub/v1/device/token", "/oauth/token",
    "/embhub/v1/join",
}  # fmt: skip
FAR = {"X-Forwarded-For": "192.0.2.50"}  # a caller on another machine
PRIVATE, ABSENT = "radboud/kept-private", "radboud/never-existed"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
VALUES = {
    "revision": "main", "path": "README.md", "status": "pending", "digest": "0" * 64, "hash": "0" * 64, "rest": "x",
    "file": "style.css", "secret": "none", "proposal": "0" * 40, "what": "test",
    "fingerprint": "0" * 64, "link": "0" * 16,
}  # fmt: skip


class Closed(NamedTuple):
    """A closed registry with a public and a private release; `reader` reads in another namespace."""

    registry: RunningRegistry
    publisher: str
    reader: str


def set_reading(registry: RunningRegistry, value: str) -> None:
    with registry.opened() as opened:
        configuration.write(opened, "read.anonymous", value)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    with running_registry(tmp_path_factory.mktemp("closed")) as registry:
        registry.add_key(releases.SITE, namespace="radboud")
        publisher = registry.add_user("alice", namespace="radboud")
        reader = registry.add_user("rob", namespace="lumc", role="reader")
        for name in (releases.REPOSITORY, PRIVATE):
            body = {"name": name.partition("/")[2], "private": name == PRIVATE}
            assert registry.request("POST", "/api/repos/create", token=publisher, json_body=body).status == 200
            release = releases.make_release(repository=name, audited=False)
            assert pushes.commit(registry, name, dict(release.files), token=publisher).status == 200
        with registry.opened() as opened:
            configuration.write(opened, "rate.exempt", FAR["X-Forwarded-For"])
            configuration.write(opened, "security.contact", "mailto:security@example.org")
        set_reading(registry, "no")
        yield Closed(registry, publisher, reader)


def address(route: Route, repository: str) -> str:
    """The route's address for a repository; every other part has a value that exists, where there is one."""
    namespace, _, name = repository.partition("/")
    path = route.path.replace(":path}", "}")
    return path.format(namespace=namespace, name=name, **VALUES)


def without_own_address(body: bytes, path: str) -> bytes:
    """A page without its login link, which leads back to the address that the caller asked for."""
    return body.replace(f'href="/login?{urlencode({"next": path})}"'.encode(), b"", 1)


ADDRESSES = sorted({address(route, releases.REPOSITORY) for route in ROUTES})


@pytest.mark.parametrize("path", [*ADDRESSES, "/no/such/address/here"])
def test_no_address_answers_without_a_token(closed: Closed, path: str) -> None:
    for method, accept in product(METHODS, ("text/html", "application/json")):
        answer = closed.registry.request(method, path, headers={**FAR, "Accept": accept})
        if path in OPEN:
            assert answer.status == 200 or method not in ("GET", "HEAD"), (method, answer.status)
            continue
        if path in LOGIN:
            assert answer.status in (200, 303, 400, 403, 404, 405), (method, answer.status)
            assert b"radboud" not in answer.body and b"Test hub" not in answer.body
            continue
        assert answer.status == 401, (method, answer.status)
        assert answer.header("www-authenticate") == 'Bearer realm="embhub"'
        assert answer.header("cache-control") == "no-store"
        said = without_own_address(answer.body, path)
        assert b"radboud" not in said and b"Test hub" not in said


@pytest.mark.parametrize("path", ADDRESSES)
def test_a_bad_token_is_as_good_as_none(closed: Closed, path: str) -> None:
    for authorization in ("Bearer hf_emb_unknown", "Basic YWxpY2U6eA==", ""):
        answer = closed.registry.get(path, headers={**FAR, "Authorization": authorization, "Accept": "text/html"})
        assert answer.status == 200 if path in OPEN else (answer.status == 401 or path in LOGIN)
        said = without_own_address(answer.body, path)
        assert path in OPEN or (b"radboud" not in said and b"Test hub" not in said)


def test_a_path_that_only_looks_like_an_open_one_is_closed(closed: Closed) -> None:
    for path in (
        "/healthz/",
        "//healthz",
        "/embhub%2Fv1%2Ftrust",
        "/embhub/v1%2Ftrust",
        "/static/../healthz",
        "/HEALTHZ",
    ):
        assert closed.registry.get(path, headers=FAR).status == 401, path
    for path in ("/%68ealthz",):  # the same address, written otherwise
        assert closed.registry.get(path, headers=FAR).status == 200, path


def test_with_a_token_it_answers_and_no_shared_cache_keeps_it(closed: Closed) -> None:
    for path in ("/", f"/{releases.REPOSITORY}", f"/{releases.REPOSITORY}/resolve/main/{EMBEDDING}", "/api/models"):
        answer = closed.registry.get(path, token=closed.reader, headers=FAR)
        said = answer.header("cache-control") or ""
        assert answer.status == 200 and "public" not in said and ("private" in said or "no-store" in said), path
        assert closed.registry.get(path, headers=FAR).status == 401, "nobody gets what was kept for others"


def test_what_is_in_memory_is_closed_at_once(closed: Closed) -> None:
    path = f"/{releases.REPOSITORY}/resolve/main/{EMBEDDING}"
    set_reading(closed.registry, "yes")
    try:
        assert [closed.registry.get(path, headers=FAR).status for _ in range(3)] == [200, 200, 200]
    finally:
        set_reading(closed.registry, "no")
    assert closed.registry.get(path, headers=FAR).status == 401


def test_a_stock_client_works_with_a_token_and_is_refused_without(closed: Closed, tmp_path: Path) -> None:
    nobody = HfApi(endpoint=closed.registry.url, token=False)
    for call in (
        lambda: list(nobody.list_models()),
        lambda: nobody.model_info(releases.REPOSITORY),
        lambda: nobody.hf_hub_download(releases.REPOSITORY, "README.md", cache_dir=tmp_path / "nobody"),
    ):
        with pytest.raises(HfHubHTTPError) as refused:
            call()
        assert refused.value.response.status_code == 401 and not isinstance(refused.value, RepositoryNotFoundError)
    reader = HfApi(endpoint=closed.registry.url, token=closed.reader)
    assert [model.id for model in reader.list_models()] == [releases.REPOSITORY]
    assert Path(reader.hf_hub_download(releases.REPOSITORY, "README.md", cache_dir=tmp_path / "reader")).is_file()
    publisher = HfApi(endpoint=closed.registry.url, token=closed.publisher)
    publisher.create_repo("radboud/stock", private=True)
    publisher.upload_file(
        repo_id="radboud/stock", path_in_repo="README.md", path_or_fileobj=b"---\nlicense: mit\n---\n# Stock\n"
    )
    assert "radboud/stock" in [model.id for model in publisher.list_models()]


def test_metrics_of_this_machine_need_no_token_and_of_others_do(closed: Closed) -> None:
    with closed.registry.opened() as opened:
        configuration.write(opened, "metrics.public", "yes")
    assert closed.registry.get("/metrics").status == 200
    assert closed.registry.get("/metrics", headers=FAR).status == 401


def test_a_browser_reads_how_to_get_a_token(closed: Closed) -> None:
    answer = closed.registry.get(f"/{releases.REPOSITORY}", headers={**FAR, "Accept": "text/html,*/*"})
    page = answer.body.decode()
    assert "access token" in page and f"embhub login --registry {closed.registry.url}" in page
    assert "/static/" not in page and "<form" not in page, "nothing on it leads to another 401"
    assert "style-src" in (answer.header("content-security-policy") or "")


NAMED = [route for route in ROUTES if "{name}" in route.path or route.path.startswith("/api/repos/")]


@pytest.mark.parametrize("route", NAMED, ids=lambda route: route.path)
def test_a_private_repository_is_told_from_an_absent_one_by_nothing(closed: Closed, route: Route) -> None:
    for method, accept in product(sorted(route.methods or ()), ("text/html", "application/json")):
        said = []
        for repository in (PRIVATE, ABSENT):
            body = {"name": repository.partition("/")[2], "organization": "radboud"}
            sent = {**FAR, "Accept": accept}
            if method in ("GET", "HEAD"):
                answer = closed.registry.get(address(route, repository), token=closed.reader, headers=sent)
            else:
                answer = closed.registry.request(
                    method, address(route, repository), token=closed.reader, headers=sent, json_body=body
                )
            name = body["name"]  # alone in answers to an address without a namespace
            headers = {header.lower(): value.replace(name, "Y") for header, value in answer.headers.items()}
            for varying in ("date", "content-length", "x-request-id"):
                headers.pop(varying, None)
            assert answer.status in (400, 403, 404), (method, answer.status)
            said.append((answer.status, headers, answer.body.replace(name.encode(), b"Y")))
        assert said[0] == said[1], method


def test_the_same_holds_for_pages_that_take_a_name_as_a_parameter(closed: Closed) -> None:
    def without(answer: Answer, repository: str) -> bytes:
        name = repository.partition("/")[2].encode()
        return answer.body.replace(name, b"X")

    for path in ("/compare?with={}&with={}", "/api/models?search={0}", "/?q={0}"):
        asked = [closed.registry.get(path.format(name, name), token=closed.reader) for name in (PRIVATE, ABSENT)]
        assert asked[0].status == asked[1].status
        assert without(asked[0], PRIVATE) == without(asked[1], ABSENT), path
