"""The client of a registry: what of the environment counts, what it refuses, and what it leaves behind."""

from __future__ import annotations

import gc
import ipaddress
import json
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from embhub.client.wire import errors as client_errors
from embhub.client.wire import http_client
from embhub.client.wire.hub import Hub
from embhub.errors import RegistryError
from embhub.version import __version__
from tests.support import hostile
from tests.support.between import World
from tests.support.hostile import Middleman, edited
from tests.support.releases import REPOSITORY, make_release

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def liar() -> Iterator[hostile.Registry]:
    with hostile.serve() as registry:
        registry.files = make_release().files
        registry.export = b"{}"
        yield registry


# ── the environment ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_proxy_of_the_environment_is_asked(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", liar.url)
    monkeypatch.setenv("EMBHUB_INSECURE", "http://registry.invalid")
    release, _ = Hub("http://registry.invalid").fetch(REPOSITORY)
    assert release.files == liar.files
    assert {_lower(headers)["host"] for _, _, headers, _ in liar.requests} == {"registry.invalid"}


def test_no_proxy_for_a_host_that_needs_none(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Hub(liar.url).trust_export() == b"{}"


@pytest.mark.parametrize("proxy", ["gopher://127.0.0.1:1", "socks5://127.0.0.1:x", "http://[::1"])
def test_a_proxy_that_is_none_is_named(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(client_errors.UnreachableError, match="proxy") as caught:
        Hub(liar.url).trust_export()
    assert "NO_PROXY" in caught.value.hint and not liar.requests


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_asks_nobody(liar: hostile.Registry, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    hub = Hub(liar.url)
    assert hub.trust_export() == b"{}"
    monkeypatch.setenv(name, "1")
    asked = len(liar.requests)
    with pytest.raises(client_errors.UnreachableError, match="offline") as caught:
        hub.fetch(REPOSITORY)
    assert name in caught.value.hint and len(liar.requests) == asked
    monkeypatch.setenv(name, "0")
    assert hub.trust_export() == b"{}"


def test_only_the_name_and_the_version_of_the_program_are_told(liar: hostile.Registry) -> None:
    Hub(liar.url).fetch(REPOSITORY)
    told = {name for _, _, headers, _ in liar.requests for name in _lower(headers)}
    assert told == {"host", "accept", "accept-encoding", "connection", "user-agent"}
    assert {_lower(headers)["user-agent"] for _, _, headers, _ in liar.requests} == {f"embhub/{__version__}"}


def test_each_registry_gets_its_own_token(liar: hostile.Registry) -> None:
    with hostile.serve() as other:
        other.export = b"{}"
        first, second = Hub(liar.url, token="hf_emb_first"), Hub(other.url, token="hf_emb_second")
        for hub in (first, second, first):
            hub.trust_export()
        assert {_lower(h)["authorization"] for _, _, h, _ in liar.requests} == {"Bearer hf_emb_first"}
        assert {_lower(h)["authorization"] for _, _, h, _ in other.requests} == {"Bearer hf_emb_second"}


def _lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


# ── certificates ───────────────────────────────────────────────────────────────────────────────────────────────────


class Trusted(BaseHTTPRequestHandler):
    """Answers every question with an empty object."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def certify(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that vouches for itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a hospital")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return folder / "both.pem"


@contextmanager
def serving_tls(pair: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Trusted)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust it hangs up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_certificate_counts_where_the_environment_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_tls(certify(tmp_path)) as url:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(client_errors.UnreachableError, match=r"certificate|CERTIFICATE"):
            Hub(url).trust_export()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert Hub(url).trust_export() == b"{}"


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_certificates_that_cannot_be_read_are_named(
    liar: hostile.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(client_errors.UnreachableError, match="certificate authorities") as caught:
        Hub(liar.url).trust_export()
    assert "SSL_CERT_FILE" in caught.value.hint and not liar.requests


# ── what it refuses, and leaves ────────────────────────────────────────────────────────────────────────────────────


def test_a_reason_without_end_is_not_read_to_the_end(liar: hostile.Registry) -> None:
    liar.lies["/api/models"] = hostile.drip(
        b"x" * 65536, first=b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with pytest.raises(RegistryError, match="answered 400"):
        Hub(liar.url).fetch(REPOSITORY)


def test_a_redirect_to_nowhere_is_no_answer(liar: hostile.Registry) -> None:
    liar.lies["/embhub/v1/trust"] = lambda h: h.send(302, b"{}")
    with pytest.raises(RegistryError, match="302"):
        Hub(liar.url).trust_export()


def test_a_host_that_wants_large_file_storage_is_refused_and_nothing_stays_behind(
    world: World, middle: Middleman
) -> None:
    def large(body: bytes) -> bytes:
        return json.dumps({"files": [row | {"uploadMode": "lfs"} for row in json.loads(body)["files"]]}).encode()

    middle.lies = {"/preupload/": edited(large)}
    with pytest.raises(RegistryError, match="large file storage") as caught:
        Hub(middle.url, token=world.token).push(make_release(repository="radboud/large"), "radboud/large")
    assert caught.value.hint
    sent = [(method, path) for method, path, _, _ in middle.requests]
    assert not [path for _, path in sent if "/commit/" in path]
    assert ("POST", "/api/repos/create") in sent and ("DELETE", "/api/repos/delete") in sent
    middle.lies = {}
    with pytest.raises(client_errors.NotFoundError):
        Hub(middle.url, token=world.token).fetch("radboud/large")


def test_a_commit_whose_answer_is_lost_is_not_sent_twice(world: World, middle: Middleman) -> None:
    middle.lies = {"/commit/": lambda handler: handler.send(503, b"{}")}
    with pytest.raises(client_errors.RegistryFailedError):
        Hub(middle.url, token=world.token).push(make_release(version="1.2.0"), REPOSITORY)
    assert sum("/commit/" in path for _, path, _, _ in middle.requests) == 1


def test_what_the_registry_has_is_not_sent_again(world: World, middle: Middleman) -> None:
    hub = Hub(middle.url, token=world.token)
    newest, commit = hub.fetch(REPOSITORY)
    assert hub.push(newest, REPOSITORY).commit == commit
    assert not [path for _, path, _, _ in middle.requests if "/commit/" in path]


def test_no_connection_stays_open_behind_a_hub(liar: hostile.Registry) -> None:
    gc.collect()  # what earlier tests left would be noticed here
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always", ResourceWarning)
        hub = Hub(liar.url)
        hub.fetch(REPOSITORY)
        assert isinstance(hub._client, http_client.RegistryClient)
        client = hub._client._client
        assert client is not None and not client.is_closed
        del hub
        gc.collect()
        assert client.is_closed
    assert not [warning for warning in noticed if issubclass(warning.category, ResourceWarning)]
