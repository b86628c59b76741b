"""What a command does not need, it does not import: tenths of a second of a process that verifies in milliseconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import embhub
from embhub.site.pins import trust_store
from tests.support.claims import make_claim, make_private_release
from tests.support.releases import ROOT, make_export, make_release
from tests.support.sites import Site

HEAVY = {
    "torch", "diffusers", "transformers", "scipy", "httpx", "httpx2", "jinja2", "tqdm", "PIL", "matplotlib",
    "huggingface_hub", "starlette", "uvicorn", "embhub.client.wire.hub", "embhub.cards.personal_data",
    "embhub.site.signing.ssh_agent", "embhub.site.signing.pkcs11_keys", "embhub.cards.evaluation",
    "embhub.cards.published_evaluation", "embhub.log.notes", "embhub.log.proofs", "embhub.trust.audit_designs",
    "embhub.trust.timestamp", "embhub.trust.advisories", "embhub.formats.plain_png",
    "embhub.client.statements.reports_document", "cryptography.hazmat.primitives.serialization",
}  # fmt: skip
SOURCES = Path(embhub.__file__).parents[1]
UNCLAIMED = {"embhub.privacy.claim", "embhub.privacy.fields", "embhub.privacy.composition"}
"""What a privacy claim alone needs."""
MOST = {"plain": 259, "private": 349}
"""Modules beside the standard library's, of which each Python has others, and folders of ours, which hold no code."""
SAY = (
    "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', *sys.argv[1:]]\ncode = main()\n"
    "print('\\n'.join(sys.modules), file=sys.stderr)\nsys.exit(code)"
)


@pytest.mark.parametrize(("command", "kind"), [("verify", "plain"), ("show", "plain"), ("verify", "private")])
def test_a_folder_is_verified_without_heavy_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, kind: str
) -> None:
    """A claim is recomputed with a Fourier transform, which needs numpy; nothing else does."""
    site = Site(tmp_path / "site").enter(monkeypatch)
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    release = make_private_release() if kind == "private" else make_release()
    release.to_folder(site.folder / "release")
    done = subprocess.run(
        [sys.executable, "-c", SAY, command, str(site.folder / "release")], capture_output=True, text=True, check=True
    )
    modules = set(done.stderr.split())
    assert "embhub.release.verification" in modules, "the list is one"
    assert sorted(modules & HEAVY) == []
    assert ("numpy" in modules) == (kind == "private")
    if command == "verify":
        assert modules & UNCLAIMED == (UNCLAIMED if kind == "private" else set())
    installed = [name for name in modules if name.partition(".")[0] not in sys.stdlib_module_names]
    assert len([name for name in installed if not (SOURCES / name.replace(".", "/")).is_dir()]) < MOST[kind]


def built(release: Path) -> set[str]:
    """Models of privacy claims and of what a registry said that verifying this folder took the time to build."""
    code = (
        "import sys\nfrom embhub.__main__ import main\nsys.argv = ['embhub', 'verify', sys.argv[1]]\nmain()\n"
        "from embhub.artifact.derivation import Derivation\nfrom embhub.privacy.claim import PrivacyClaim\n"
        "from embhub.privacy.composition import Composition\nfrom embhub.trust.advisories import _Document\n"
        "models = (Derivation, PrivacyClaim, Composition, _Document)\n"
        "print('\\n'.join(m.__name__ for m in models if m.__pydantic_complete__), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(release)], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_a_model_is_built_where_it_is_first_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path / "site").enter(monkeypatch)
    trust_store.add(make_export(), fingerprint=ROOT.fingerprint)
    make_release().to_folder(site.folder / "plain")
    make_private_release().to_folder(site.folder / "private")
    assert built(site.folder / "plain") == set()
    assert built(site.folder / "private") == {"PrivacyClaim"}


def test_threads_may_be_the_first_to_use_a_model() -> None:
    """A registry answers in threads, and models are built by the first of them."""
    code = (
        "import sys, threading\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from embhub.privacy.claim import PrivacyClaim, read_claim\n"
        "assert not PrivacyClaim.__pydantic_complete__\ngate = threading.Barrier(8)\n"
        "def turn(_):\n    gate.wait()\n    return read_claim(sys.argv[1]).to_text() == sys.argv[1]\n"
        "print(all(ThreadPoolExecutor(8).map(turn, range(8))))"
    )
    words = [sys.executable, "-c", code, make_claim().to_text()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
