"""Addresses that lead to something else than a registry, and fingerprints that were not copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from embhub.__main__ import main
from tests.support.releases import ROOT, make_export

ASKED = {
    "search": ("search", "x", "--registry"),
    "show": ("show", "ns/name", "--registry"),
    "pull": ("pull", "ns/name", "--registry"),
    "verify": ("verify", "ns/name", "--registry"),
    "trust add": ("trust", "add"),
}


class Welcome(BaseHTTPRequestHandler):
    """Answers everything with the same page, as a proxy's login does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>Welcome to our intranet</html>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Files(SimpleHTTPRequestHandler):
    """A plain web server: 404 for every address of a registry."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[Files, Welcome])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("verb", ASKED)
def test_a_web_server_is_no_registry(
    verb: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "export.json"
    kept.write_bytes(make_export())
    assert main(["trust", "add", str(kept), "--fingerprint", ROOT.fingerprint]) == 0
    assert main([*ASKED[verb], address]) == 5
    said = capsys.readouterr().err
    assert "not a registry's answer" in said
    assert address in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "fingerprint",
    ["AX8+DSlO", "SHA256:AX8+DSlO", "SHA256:", "MD5:ab:cd", ROOT.fingerprint + "=", ROOT.fingerprint[:-1]],
)
def test_a_fingerprint_that_is_cut_off_is_a_slip_and_no_forgery(
    fingerprint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    kept = tmp_path / "export.json"
    kept.write_bytes(make_export())
    assert main(["trust", "add", str(kept), "--fingerprint", fingerprint]) == 2
    assert "43 characters" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_another_whole_fingerprint_is_refused_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    kept = tmp_path / "export.json"
    kept.write_bytes(make_export())
    assert main(["trust", "add", str(kept), "--fingerprint", "SHA256:" + "A" * 43]) == 4
