"""`key add` takes namespace and role from what the key signed, and warns of a bare public key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embhub.__main__ import main as site_main
from embhub.trust import key_request
from embhub_registry.storage.folder import create
from tests.support.releases import NOW, SITE
from tests.support.servers import Done, run_here
from tests.support.sites import Site


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Site(tmp_path / "site", "https://hub.example.org:8443").enter(monkeypatch)
    made = create(tmp_path / "hub", name="Hub", url="https://hub.example.org", audit="optional")
    made.close()
    return made.folder


def add(folder: Path, *words: str, code: int = 0) -> Done:
    done = run_here("--dir", folder, "key", "add", *words, "--new-namespace", check=False)
    assert done.returncode == code, done.stderr
    return done


def test_from_the_site_to_the_keyring(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert site_main(["key", "new"]) == 0
    assert site_main(["key", "request", "radboud", "--role", "publish"]) == 0
    said = capsys.readouterr().out
    assert "embhub key request NAMESPACE" in said and "embhub-registry key add radboud.publish.key-request.json" in said
    told = add(folder, "radboud.publish.key-request.json")
    assert "may publish in radboud" in told.stdout
    assert "requested on" in told.stderr and "warning" not in told.stderr


def test_a_request_for_something_else(folder: Path) -> None:
    here, there, edited = Path("here.json"), Path("there.json"), Path("edited.json")
    here.write_bytes(key_request.write("hub.example.org", "radboud", "publish", key=SITE, now=NOW))
    there.write_bytes(key_request.write("other.example.org", "radboud", "publish", key=SITE, now=NOW))
    signatures = json.loads(there.read_bytes())["signatures"]
    edited.write_text(json.dumps({**json.loads(here.read_bytes()), "signatures": signatures}))
    assert "for the registry other.example.org" in add(folder, str(there), code=4).stderr
    add(folder, str(here), "--namespace", "lumc", code=2)
    add(folder, str(here), "--role", "audit", code=2)
    add(folder, str(edited), code=4)
    add(folder, "absent.json", code=2)
    assert SITE.fingerprint not in run_here("--dir", folder, "key", "list").stdout


def test_a_bare_key_is_taken_with_a_warning(folder: Path) -> None:
    Path("bare.pem").write_text(SITE.public_pem)
    add(folder, "bare.pem", code=2)
    done = add(folder, "bare.pem", "--namespace", "radboud", "--role", "publish")
    assert "proves nothing about who holds it" in done.stderr
