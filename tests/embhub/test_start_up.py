"""What a command does not need, it does not import: seconds of a process that verifies in milliseconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embhub.site import trust_store
from tests.support.releases import ROOT, make_export, make_release
from tests.support.sites import Site

HEAVY = {
    "torch", "diffusers", "transformers", "scipy", "httpx", "httpx2", "jinja2", "tqdm", "PIL", "matplotlib",
    "numpy.ma.core", "numpy.f2py", "huggingface_hub", "starlette", "uvicorn",
}  # fmt: skip
MOST = 560  # modules in all; scipy alone brought 170 more
SAY = (
    "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', *sys.argv[1:]]\ncode = main()\n"
    "print('\\n'.join(sys.modules), file=sys.stderr)\nsys.exit(code)"
)


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_folder_is_verified_without_heavy_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    site = Site(tmp_path / "site").enter(monkeypatch)
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    make_release().to_folder(site.folder / "release")
    done = subprocess.run(
        [sys.executable, "-c", SAY, command, str(site.folder / "release")], capture_output=True, text=True, check=True
    )
    modules = set(done.stderr.split())
    assert "embhub.release.verification" in modules and "numpy" in modules, "the list is one"
    assert not modules & HEAVY
    assert len(modules) < MOST
