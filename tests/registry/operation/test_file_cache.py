"""nginx with the file cache that we ship: what it keeps, for how long, and what it never gives out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from embhub.errors import UsageError
from embhub.release.files import EMBEDDING
from embhub_registry.storage import configuration, settings
from tests.registry.operation.test_behind_nginx import ask
from tests.support import pushes, releases
from tests.support.nginx import HOST, Proxy, needs_nginx, proxy_before
from tests.support.quick import quick
from tests.support.servers import RunningRegistry, init_registry

pytestmark = needs_nginx
NAME = "radboud/prostate-cspca"
SECONDS = 1
# nginx counts whole seconds, and keeps an answer until the second is over in which it ends.
LONGEST = SECONDS + 1


@dataclass
class Served:
    """A registry behind nginx with its file cache, a public release in it, and its publisher's token."""

    registry: RunningRegistry
    proxy: Proxy
    alice: str
    path: str
    data: bytes

    def asked(self) -> int:
        """How many requests for files have reached the registry, by its log."""
        text = self.registry.log.read_text()
        return sum('"event": "request"' in line and "/resolve/" in line for line in text.splitlines())

    def reached(self, path: str, **headers: str) -> bool:
        """Whether the registry sees this request; a line comes after its answer."""
        before = self.asked()
        ask(self.proxy, path, **headers)
        deadline = time.monotonic() + 1
        while self.asked() == before and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.asked() > before

    def api(self) -> HfApi:
        """An operator's client, which does not go by way of nginx."""
        return HfApi(endpoint=self.registry.url, token=self.registry.admin)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    registry = init_registry(tmp_path / "hub")
    registry.add_key(releases.SITE, namespace="radboud")
    alice = registry.add_user("alice", namespace="radboud")
    with registry.opened() as opened:
        configuration.write(opened, "hosts.allowed", HOST)
        configuration.write(opened, "files.proxy_seconds", str(SECONDS))
    registry.start()
    try:
        release = releases.make_release()
        assert pushes.create(registry, "prostate-cspca", token=alice).status == 200
        assert pushes.commit(registry, NAME, release.files, token=alice).status == 200
        path = f"/{NAME}/resolve/{registry.get(f'/api/models/{NAME}').json()['sha']}/{EMBEDDING}"
        with proxy_before(registry.url, tmp_path / "nginx", file_cache=True) as proxy:
            yield Served(registry, proxy, alice, path, release.files[EMBEDDING])
    finally:
        registry.stop()


def test_a_public_file_is_sent_again_without_the_registry(served: Served) -> None:
    status, headers, body = ask(served.proxy, served.path)
    assert (status, body) == (200, served.data) and "X-Accel-Expires" not in headers
    before, began = served.asked(), time.monotonic()
    answers = [ask(served.proxy, served.path) for _ in range(5)]
    assert [(status, body) for status, _, body in answers] == [(200, served.data)] * 5
    assert served.asked() - before <= (time.monotonic() - began) / SECONDS + 1
    assert all(found[1]["ETag"] == headers["ETag"] for found in answers)


def test_ranges_and_conditions_are_answered_as_by_the_registry(served: Served) -> None:
    etag = ask(served.proxy, served.path)[1]["ETag"]
    status, headers, body = ask(served.proxy, served.path, Range="bytes=10-19")
    assert (status, body) == (206, served.data[10:20])
    assert headers["Content-Range"] == f"bytes 10-19/{len(served.data)}"
    assert ask(served.proxy, served.path, **{"If-None-Match": etag})[0] == 304
    assert ask(served.proxy, served.path, **{"If-None-Match": '"another"'})[0] == 200


@pytest.mark.thorough
def test_nothing_is_kept_unless_the_operator_chose_so(served: Served) -> None:
    with served.registry.opened() as opened:
        configuration.write(opened, "files.proxy_seconds", "none")
    time.sleep(LONGEST)
    assert [served.reached(served.path) for _ in range(3)] == [True] * 3


def test_who_shows_a_token_or_a_cookie_is_answered_by_the_registry(served: Served) -> None:
    ask(served.proxy, served.path)
    for own in ({"Authorization": f"Bearer {served.alice}"}, {"Cookie": "a=b"}):
        assert [served.reached(served.path, **own) for _ in range(3)] == [True] * 3


@pytest.mark.thorough
def test_a_revoked_token_gets_nothing_from_the_cache(served: Served) -> None:
    assert ask(served.proxy, served.path)[0] == 200
    served.registry.run("user", "disable", "alice")
    assert ask(served.proxy, served.path, Authorization=f"Bearer {served.alice}")[0] == 401


@pytest.mark.thorough
def test_what_a_token_reads_of_a_private_repository_is_given_to_nobody_else(served: Served) -> None:
    served.api().update_repo_settings(NAME, private=True)
    assert ask(served.proxy, served.path, Authorization=f"Bearer {served.alice}")[0] == 200
    assert ask(served.proxy, served.path)[0] in (401, 404)


@pytest.mark.thorough
def test_a_branch_s_file_is_never_kept(served: Served) -> None:
    path = f"/{NAME}/resolve/main/{EMBEDDING}"
    assert [served.reached(path) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("how", quick(["private"], thorough=["gated", "deleted", "closed"]))
def test_what_is_withdrawn_is_gone_within_the_seconds_that_the_page_says(served: Served, how: str) -> None:
    assert ask(served.proxy, served.path)[0] == 200
    if how == "deleted":
        served.api().delete_repo(NAME)
    elif how == "closed":
        with served.registry.opened() as opened:
            configuration.write(opened, "read.anonymous", "no")
    else:
        served.api().update_repo_settings(
            NAME, gated="manual" if how == "gated" else None, private=how == "private" or None
        )
    done = time.monotonic()
    assert served.registry.get(served.path).status in (401, 403, 404, 410), "the registry itself refuses at once"
    last = done
    while time.monotonic() < done + LONGEST + 2:
        began = time.monotonic()
        if ask(served.proxy, served.path)[0] == 200:
            last = began
        time.sleep(0.02)
    assert last - done <= LONGEST, "asking again and again keeps nothing"


@pytest.mark.thorough
def test_without_the_registry_nothing_old_is_sent(served: Served) -> None:
    assert ask(served.proxy, served.path)[0] == 200
    served.registry.stop()
    time.sleep(LONGEST + 0.1)
    assert ask(served.proxy, served.path)[0] == 502


@pytest.mark.parametrize("wrong", ["0", "11", "1.5", "-1", "yes", "nan"])
def test_other_times_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match="whole number of seconds from 1 to 10"):
        settings.parse("files.proxy_seconds", wrong)
