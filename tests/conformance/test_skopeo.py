"""Stock tools of containers carry a release: `skopeo` to a registry (Debian's `docker-registry`) and back."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.release import oci_layout
from embhub.site.pins import trust_store
from tests.support import tools
from tests.support.releases import ROOT, make_export, make_release, make_sheet
from tests.support.servers import free_port
from tests.support.sites import Site

CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
pytestmark = pytest.mark.thorough
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of an empty registry of containers."""
    tools.require("docker-registry")
    port = free_port()
    config = tmp_path / "registry.yml"
    config.write_text(CONFIG.format(folder=tmp_path / "stored", port=port))
    with (tmp_path / "registry.log").open("wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/v2/", server)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "the registry ended"
        try:
            OPENER.open(address, timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the registry does not answer")


def run(*words: str) -> bytes:
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@tools.needs("skopeo")
def test_a_release_goes_to_a_registry_of_containers_and_back(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path / "site").enter(monkeypatch)
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    release = make_release(sheet=make_sheet())
    release.to_folder(site.folder / "release")
    assert main(["export", "release", "--to", "oci:there"]) == 0
    said = capsys.readouterr().out
    _, referrers = said.partition("tags")[2].split("\n")[0].strip().split(", ")
    place = f"docker://{registry}/radboud/prostate-cspca"
    tags = {"1.0.0": "--preserve-digests", referrers: "--all"}
    for tag, word in tags.items():
        run("copy", word, "--dest-tls-verify=false", f"oci:there:{tag}", f"{place}:{tag}")
    shutil.rmtree("there")
    raw = run("inspect", "--raw", "--tls-verify=false", f"{place}:1.0.0")
    assert referrers == f"sha256-{hashlib.sha256(raw).hexdigest()}"
    for tag, word in tags.items():
        run("copy", word, "--src-tls-verify=false", f"{place}:{tag}", f"oci:back:{tag}")
    assert oci_layout.read(Path("back")).files == release.files
    assert main(["verify", "back"]) == 0
    blob = max((site.folder / "back" / oci_layout.BLOBS).iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes() + b" ")
    assert main(["verify", "back"]) == 4
