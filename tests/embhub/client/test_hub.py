"""The client of a registry against one that lies: bounded, prompt, in words, and with the token kept at home."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.wire import guard
from embhub.client.wire.errors import UnreachableError
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError, RegistryError, UsageError
from embhub.progress import Progress
from tests.support import hostile
from tests.support.hostile import COMMIT, Handler
from tests.support.releases import REPOSITORY, make_release

TOKEN = "hf_emb_" + "t" * 40


@pytest.fixture
def liar() -> Iterator[hostile.Registry]:
    with hostile.serve() as registry:
        registry.files = make_release().files
        yield registry


def test_fetch_reads_the_files_of_one_commit(liar: hostile.Registry) -> None:
    release, commit = Hub(liar.url).fetch(REPOSITORY)
    assert commit == COMMIT
    assert release.files == liar.files
    assert all(COMMIT in path for _, path, _, _ in liar.requests[1:])


def test_progress_counts_the_files(liar: hostile.Registry) -> None:
    said: list[Progress] = []
    Hub(liar.url).fetch(REPOSITORY, on_progress=said.append)
    assert [p.done for p in said] == list(range(len(liar.files) + 1))


def test_an_anonymous_client_sends_no_token_of_somebody_else(
    liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hf_secret_of_another_hub")
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_another_hub")
    Hub(liar.url).fetch(REPOSITORY)
    assert liar.requests and not any("authorization" in {k.lower() for k in h} for _, _, h, _ in liar.requests)


def test_the_token_goes_to_its_registry(liar: hostile.Registry) -> None:
    Hub(liar.url, token=TOKEN).fetch(REPOSITORY)
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for _, _, headers, _ in liar.requests)


def test_tls_to_a_plain_server_asks_for_the_right_address(liar: hostile.Registry) -> None:
    with pytest.raises(UnreachableError) as caught:
        Hub(liar.url.replace("http://", "https://")).fetch(REPOSITORY)
    assert f"is it {liar.url}?" in caught.value.hint


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_off_the_origin_is_not_followed(liar: hostile.Registry, status: int, token: str | None) -> None:
    """Elsewhere no deadline and no bound holds, and an address inside the hospital may be what is asked for."""
    with hostile.serve() as elsewhere:
        elsewhere.files = liar.files
        for path in ("/resolve/", "/api/models", "/embhub/v1/trust"):
            liar.lies = {path: lambda h: h.send(status, b"", Location=elsewhere.url + h.path)}
            hub = Hub(liar.url, token=token)
            with pytest.raises(RegistryError, match="sent its client on") as caught:
                hub.trust_export() if "trust" in path else hub.fetch(REPOSITORY)
            assert caught.value.hint
        assert not elsewhere.requests


def test_a_redirect_at_home_is_followed(liar: hostile.Registry) -> None:
    liar.export = b"{}"
    liar.lies = {"/embhub/v1/trust": lambda h: h.send(302, b"", Location="/moved")}
    liar.lies["/moved"] = lambda h: h.send(200, b"{}")
    assert Hub(liar.url).trust_export() == b"{}"


@pytest.mark.parametrize("token", [None, TOKEN])
def test_a_next_page_on_another_origin_is_refused(liar: hostile.Registry, token: str | None) -> None:
    """The client follows `Link: rel=next`, with its token in hand if it has one."""
    with hostile.serve() as elsewhere:
        link = f'<{elsewhere.url}/api/models?page=2>; rel="next"'
        page = json.dumps([{"id": "a/b", "sha": COMMIT}]).encode()
        liar.lies["/api/models"] = lambda h: h.send(200, page, Link=link)
        with pytest.raises(RegistryError, match="sent its client on"):
            Hub(liar.url, token=token).search("x")
        assert not elsewhere.requests


def test_a_file_that_is_announced_too_large_is_never_asked_for(liar: hostile.Registry) -> None:
    liar.sizes["learned_embeds.safetensors"] = 2_000_000_000
    with pytest.raises(RegistryError, match="2,000,000,000 bytes"):
        Hub(liar.url).fetch(REPOSITORY)
    assert not any("/resolve/" in path for _, path, _, _ in liar.requests)


def _drip(handler: Handler, chunk: bytes, pause: float = 0.0, count: int = 10**9) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for _ in range(count):
        handler.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        time.sleep(pause)


def test_a_file_without_end_is_cut_off(liar: hostile.Registry) -> None:
    liar.lies["learned_embeds"] = lambda h: _drip(h, b"x" * 65536)
    with pytest.raises(RegistryError, match="1,000,000 bytes"):
        Hub(liar.url).fetch(REPOSITORY)


def test_an_answer_without_end_is_cut_off(liar: hostile.Registry) -> None:
    liar.lies["/api/models"] = lambda h: _drip(h, b" " * 65536)
    with pytest.raises(RegistryError, match="no end"):
        Hub(liar.url).fetch(REPOSITORY)


def test_a_dripping_answer_meets_a_deadline(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LONGEST_ANSWER", 0.5)
    liar.lies["/api/models"] = lambda h: _drip(h, b" ", pause=0.1)
    with pytest.raises(RegistryError, match="for one answer"):
        Hub(liar.url).fetch(REPOSITORY)


def test_a_silent_registry_meets_a_deadline(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "SILENCE", 0.3)
    liar.lies["/api/models"] = lambda h: time.sleep(3)
    with pytest.raises(RegistryError, match="cannot be reached"):
        Hub(liar.url).fetch(REPOSITORY)


@pytest.mark.parametrize("fault", ["hung up", "half a file", "silent in the middle", "busy"])
def test_a_file_that_fails_once_is_asked_for_again(
    liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(guard, "SILENCE", 0.3)
    monkeypatch.setattr("embhub.client.wire.hub.PAUSES", (0.0,))
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nxx"

    def stall(handler: Handler) -> None:
        handler.wfile.write(half)
        time.sleep(1)

    faults = {
        "hung up": hostile.raw(b""),
        "half a file": hostile.raw(half),
        "silent in the middle": stall,
        "busy": lambda handler: handler.send(503, b"{}"),
    }

    def fail_once(handler: Handler) -> None:
        del liar.lies["learned_embeds"]
        handler.close_connection = True
        faults[fault](handler)

    liar.lies["learned_embeds"] = fail_once
    assert Hub(liar.url).fetch(REPOSITORY)[0].files == liar.files


def test_a_compressed_answer_is_refused(liar: hostile.Registry) -> None:
    """A kilobyte may unpack to gigabytes."""
    liar.lies["/api/models"] = lambda h: h.send(200, b"x", Content_Encoding="gzip")
    with pytest.raises(RegistryError, match="compressed"):
        Hub(liar.url).fetch(REPOSITORY)


NONSENSE = [
    b"<html>please log in</html>",
    b"",
    b"[]",
    b"null",
    b'"x"',
    b"{}",
    b'{"id": 1, "sha": 2}',
    b"\xff\xfe",
    b"[" * 200_000,
]


@pytest.mark.parametrize("body", NONSENSE)
def test_nonsense_is_named_as_such(liar: hostile.Registry, body: bytes) -> None:
    liar.lies["/"] = lambda h: h.send(200, body)
    hub = Hub(liar.url, token=TOKEN)
    for call in (lambda: hub.fetch(REPOSITORY), hub.whoami):
        with pytest.raises(RegistryError) as caught:
            call()
        assert caught.value.hint


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[" * 200_000])
def test_a_trust_document_that_is_none(liar: hostile.Registry, body: bytes) -> None:
    liar.lies["/embhub/v1/trust"] = lambda h: h.send(200, body)
    with pytest.raises(RegistryError, match="not a registry's answer"):
        Hub(liar.url).trust_export()


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (
            401,
            {"X_Error_Message": "Invalid credentials in Authorization header: expired"},
            "does not accept your token",
        ),
        (403, {"X_Error_Message": "umc is not your namespace"}, "umc is not your namespace"),
        (404, {"X_Error_Code": "RepoNotFound"}, "no repository"),
        (404, {"X_Error_Code": "RevisionNotFound"}, "no such revision"),
        (418, {"X_Error_Message": "short and stout"}, "short and stout"),
        (500, {}, "failed with 500"),
    ],
)
def test_a_refusal_keeps_the_registrys_words(
    liar: hostile.Registry, status: int, headers: dict[str, str], words: str
) -> None:
    liar.lies["/api/models"] = lambda h: h.send(status, b"{}", **headers)
    with pytest.raises(RegistryError, match=words) as caught:
        Hub(liar.url, token=TOKEN).fetch(REPOSITORY, "v1")
    assert caught.value.hint and "<html" not in str(caught.value)


STEERING = "\x1b]0;mine\x07\x1b[2J\u202e\u009b\r\nerror"


def test_what_a_registry_says_does_not_steer_the_terminal(liar: hostile.Registry) -> None:
    liar.lies["/api/models"] = lambda h: h.send(400, json.dumps({"error": STEERING * 50}).encode())
    with pytest.raises(RegistryError, match="mine") as caught:
        Hub(liar.url).fetch(REPOSITORY)
    assert caught.value.message.isprintable() and len(caught.value.message) < 600


def test_what_a_registry_lists_does_not_steer_the_terminal(liar: hostile.Registry) -> None:
    row = {"id": f"a/{STEERING}", "sha": STEERING, "tags": [STEERING]}
    liar.lies["/api/models"] = lambda h: h.send(200, json.dumps([row]).encode())
    (found,) = Hub(liar.url).search("x")
    assert all(text.isprintable() for text in (found.repository, found.commit, found.modified, *found.tags))
    liar.lies["/api/whoami"] = lambda h: h.send(
        200, json.dumps({"name": STEERING, "orgs": [{"name": STEERING}]}).encode()
    )
    account = Hub(liar.url, token=TOKEN).whoami()
    assert all(text.isprintable() for text in (account.name, *account.namespaces))


def test_a_page_of_html_is_not_quoted(liar: hostile.Registry) -> None:
    liar.lies["/"] = lambda h: h.send(403, b"<html><body>Forbidden</body></html>", content_type="text/html")
    with pytest.raises(RegistryError) as caught:
        Hub(liar.url).fetch(REPOSITORY)
    assert "<html" not in str(caught.value)


def test_a_registry_that_is_down_fails_at_once(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    hub = Hub(f"http://127.0.0.1:{port}", token=TOKEN)
    for call in (hub.whoami, hub.trust_export, lambda: hub.fetch(REPOSITORY), hub.search):
        with pytest.raises(RegistryError, match="cannot be reached"):
            call()
    assert time.monotonic() - began < 15
    assert not caplog.records and capfd.readouterr() == ("", ""), "the error says it, once"


def test_a_search_asks_once_for_as_much_as_was_wanted(liar: hostile.Registry) -> None:
    rows = [
        {"id": f"a/{n}", "sha": COMMIT, "lastModified": "2026-11-20T10:22:33.000Z", "tags": ["x"]} for n in range(3)
    ]
    link = f'<{liar.url}/api/models?cursor=more>; rel="next"'
    asked = []

    def reply(handler: Handler) -> None:
        asked.append(handler.path)
        handler.send(200, json.dumps(rows).encode(), Link=link)

    liar.lies["/api/models"] = reply
    found = Hub(liar.url, token=TOKEN).search("chest & x-ray", limit=2)
    assert [listing.repository for listing in found] == ["a/0", "a/1"]
    assert found[0].modified == "2026-11-20T10:22:33Z" and found[0].tags == ("x",)
    assert asked == ["/api/models?search=chest+%26+x-ray&limit=2&sort=lastModified&full=True"]
    ((_, _, headers, _),) = liar.requests
    assert headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("said", [b"{}", b"[1]", b'[{"sha": "x"}]', b'[{"id": "a/b", "lastModified": "soon"}]', b"<p>"])
def test_a_list_that_is_none(liar: hostile.Registry, said: bytes) -> None:
    liar.lies["/api/models"] = lambda h: h.send(200, said)
    with pytest.raises(RegistryError, match="not a registry's answer"):
        Hub(liar.url).search("x")


def test_a_commit_that_is_none_is_refused(liar: hostile.Registry) -> None:
    document = {"id": REPOSITORY, "sha": "main", "siblings": []}
    liar.lies["/api/models"] = lambda h: h.send(200, json.dumps(document).encode())
    with pytest.raises(RegistryError, match="names no commit"):
        Hub(liar.url).fetch(REPOSITORY)


def test_file_names_outside_the_layout_are_not_even_asked_for(liar: hostile.Registry) -> None:
    liar.files = {**liar.files, "../../etc/passwd": b"x", "evil.bin": b"x"}
    release, _ = Hub(liar.url).fetch(REPOSITORY)
    assert not any("evil" in path or "passwd" in path for _, path, _, _ in liar.requests)
    assert not release.others


@pytest.mark.parametrize("name", ["noslash", "a/b/c", "../x", "A/b", "a/b@c/d", "a/..", ""])
def test_names_that_are_none_ask_nobody(liar: hostile.Registry, name: str) -> None:
    with pytest.raises(UsageError):
        Hub(liar.url).fetch(name)
    assert not liar.requests


@pytest.mark.parametrize("url", ["ftp://x", "hub.example.org", "https://", "http://user:pw@x", "https://x/?q=1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError):
        Hub(url)


def test_whoami_without_a_token_asks_nobody(liar: hostile.Registry) -> None:
    with pytest.raises(RegistryError, match="no token"):
        Hub(liar.url).whoami()
    assert not liar.requests
