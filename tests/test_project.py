"""What the project says of itself: one version, one set of addresses, pages for newcomers, signed artefacts."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import embhub
from embhub import __main__ as program
from embhub import project
from embhub.diffusion.dp import selftest
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import VerificationError
from embhub.site.signing import keys
from embhub.version import __version__

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def load(name: str) -> types.ModuleType:
    """A script of .ci/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f".ci/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_stands_in_one_place() -> None:
    assert "version" in PYPROJECT["project"]["dynamic"] and "version" not in PYPROJECT["project"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "embhub/version.py"
    assert metadata.version("embhub") == embhub.__version__, "the environment is older than the source: `make setup`"


def test_citation_and_changelog_speak_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == embhub.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest is not None and newest[1] == embhub.__version__


def test_addresses_come_from_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"Issues": "https://code.test/issues", "Security": "https://code.test/security"}
    assert set(PYPROJECT["project"]["urls"]) >= set(named)
    found = metadata.metadata("embhub")
    assert isinstance(found, Message)
    del found["Project-URL"]
    for label, url in named.items():
        found["Project-URL"] = f"{label}, {url}"
    monkeypatch.setattr(metadata, "metadata", lambda name: found)
    assert project.find_url("Issues") == named["Issues"] and project.find_url("Homepage") is None
    assert named["Issues"] in program.in_words(RuntimeError("private")).hint
    assert "private" not in str(program.in_words(RuntimeError("private")))


def test_a_placeholder_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    found = metadata.metadata("embhub")
    assert isinstance(found, Message)
    del found["Project-URL"]
    found["Project-URL"] = "Issues, https://source.embhub.example/issues"
    monkeypatch.setattr(metadata, "metadata", lambda name: found)
    assert project.find_url("Issues") is None
    assert "SECURITY.md" in project.where_to_report("Issues")


@dataclass(frozen=True)
class Silent(Mechanism):
    """A mechanism that forgets its noise."""

    def release(self, total: Vectors) -> Vectors:
        return np.asarray(total / self.denominator)


@pytest.mark.thorough
def test_a_failed_self_test_says_where_to_report_it() -> None:
    with pytest.raises(selftest.BrokenMechanismError) as caught:
        selftest.run(
            Silent(sample_rate=0.2, max_grad_norm=1.0, noise_multiplier=2.0, denominator=16),
            kind="dp-sgd", width=8, recipe=ResolvedRecipe(steps=5), steps=5, epsilon=2.0, delta=1e-5,
        )  # fmt: skip
    assert project.where_to_report("Security") in caught.value.hint


def test_no_address_of_the_project_is_written_in_the_code() -> None:
    hosts = {url.split("/")[2] for url in PYPROJECT["project"]["urls"].values()}
    sources = [*(ROOT / "embhub").rglob("*.py"), *(ROOT / "registry").rglob("*.py")]
    assert not [path for path in sources if any(host in path.read_text() for host in hosts)]


def test_the_targets_that_newcomers_are_told_of_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in ("CONTRIBUTING.md", "docs/how-to/release.md"):
        assert set(re.findall(r"`make ([a-z][a-z-]*)", (ROOT / page).read_text())) <= targets


@pytest.mark.parametrize("script", [".ci/run", ".ci/versions", "Makefile"])
def test_the_tests_that_a_script_names_exist(script: str) -> None:
    named = re.findall(r"\btests/[\w/]+(?:\.\w+)?", (ROOT / script).read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_hooks_run_what_the_environment_has() -> None:
    known = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for repository in known["repos"]:
        assert repository["repo"] == "local", "a hook from elsewhere would be fetched"
        for hook in repository["hooks"]:
            assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/")


def test_an_attestation_is_about_these_bytes_and_this_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    attest = load("attest")
    key, stranger = keys.generate("release"), keys.generate("stranger")
    wheel = tmp_path / "embhub-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    attest.sign(wheel, key=key, source="https://code.test", commit="c" * 40, epoch="0")
    assert attest.verify(wheel, public_key=key.public) == "c" * 40
    with pytest.raises(VerificationError):
        attest.verify(wheel, public_key=stranger.public)
    wheel.write_bytes(b"another wheel")
    with pytest.raises(VerificationError):
        attest.verify(wheel, public_key=key.public)


def test_nothing_is_signed_while_an_address_is_a_placeholder(tmp_path: Path) -> None:
    if project.find_url("Source") is not None:
        pytest.skip("the addresses are filled in")
    (tmp_path / "a.whl").write_bytes(b"a wheel")
    command = [sys.executable, str(ROOT / ".ci/attest.py"), "sign", "release", str(tmp_path / "a.whl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "placeholders" in done.stderr
    assert not (tmp_path / "a.whl.intoto.json").exists()


def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    check = load("check_site")
    (tmp_path / "a.html").write_text(
        '<a href="https://arxiv.org">paper</a><img src="images/a.png"><link rel="canonical" href="https://a.test/">'
    )
    (tmp_path / "a.css").write_text("body { background: url(data:image/png;base64,AAAA) }")
    assert check.find_external(tmp_path) == []
    (tmp_path / "b.html").write_text('<script async src="https://cdn.test/x.js"></script><img src=//b.test/a.png>')
    (tmp_path / "b.css").write_text("@font-face { src: url('https://fonts.test/x.woff2') }")
    (tmp_path / "b.js").write_text('import("https://unpkg.com/mermaid")')
    assert len(check.find_external(tmp_path)) == 4


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_wheel_is_built_to_the_same_bytes_twice(tmp_path: Path) -> None:
    pytest.importorskip("build", reason="the extra `release` is not installed")
    pytest.importorskip("hatchling", reason="the extra `release` is not installed")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no commit to build from")
    command = [sys.executable, str(ROOT / ".ci/dist.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheels = {path.name.partition("-")[0]: path.stat().st_size for path in tmp_path.glob("*.whl")}
    assert set(wheels) == {"embhub", "embhub_registry", "embhub_bases"}
    assert wheels["embhub"] < 3_000_000, "neither server nor weights"
    (wheel,) = tmp_path.glob("embhub-*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    said = "from embhub.site import builds; print(builds.installed())"
    done = subprocess.run([sys.executable, "-c", said], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
                          capture_output=True, text=True, check=True)  # fmt: skip
    (digest,) = re.findall(r"[0-9a-f]{64}", wheel.with_name("build.txt").read_text())
    assert f"kind='wheel', digest='{digest}'" in done.stdout, "what is installed of it is known by this line"


@pytest.mark.parametrize(
    ("direct_url", "extra", "command"),
    [
        ({"url": "file:///src/emb%20hub", "dir_info": {"editable": True}}, "dicom",
         "pip install -e '/src/emb hub[dicom]'"),
        ({"url": "file:///src/embhub", "dir_info": {"editable": True}}, "diffusion",
         "pip install -e '/src/embhub[diffusion]' -e /src/embhub/bases"),
        ({"url": "file:///src/embhub", "dir_info": {}}, "registry",
         "pip install '/src/embhub[registry]' /src/embhub/registry"),
        ({"url": "file:///dist/embhub-0.1.0-py3-none-any.whl", "archive_info": {}}, "nifti",
         "pip install '/dist/embhub-0.1.0-py3-none-any.whl[nifti]'"),
        ({"url": "file:///dist/embhub-0.1.0-py3-none-any.whl", "archive_info": {}}, "diffusion",
         "pip install '/dist/embhub-0.1.0-py3-none-any.whl[diffusion]' /dist/embhub_bases-*.whl"),
        (None, "dicom", f"pip install 'embhub[dicom]=={__version__}', from where embhub was installed"),
    ],
)  # fmt: skip
def test_hints_install_from_where_embhub_came_from(direct_url: dict[str, Any] | None, extra: str, command: str) -> None:
    """The name on the public index is not ours: a hint that named it alone could fetch a stranger's package."""
    text = None if direct_url is None else json.dumps(direct_url)
    assert project.command_for(extra, direct_url=text) == command


def test_the_hint_of_this_tree_names_this_tree() -> None:
    assert project.how_to_install("dicom") == f"pip install -e '{ROOT}[dicom]'"


def test_no_hint_and_no_page_installs_by_a_bare_name() -> None:
    """Until the name on the public index is the project's."""
    files = [*ROOT.glob("embhub/**/*.py"), *ROOT.glob("registry/embhub_registry/**/*.py"), *ROOT.glob("docs/**/*.md"),
             ROOT / "README.md"]  # fmt: skip
    named = re.compile(r"pip install[^\n]*[ '\"]embhub(?![\w/.-])")
    found = [f"{file.relative_to(ROOT)}: {line}" for file in files for line in file.read_text().splitlines()
             if named.search(line) and file.name != "project.py"]  # fmt: skip
    assert found == []


def test_no_example_names_a_repository_that_is_gone() -> None:
    gone = re.compile(r"runwayml/|stabilityai/stable-diffusion-2(?!\d)")
    files = [file for pattern in ("embhub/**/*.py", "docs/**/*.md", "examples/**/*.py", "registry/**/*.py")
             for file in ROOT.glob(pattern)]  # fmt: skip
    found = [f"{file.relative_to(ROOT)}: {line.strip()}" for file in [*files, ROOT / "README.md"]
             for line in file.read_text().splitlines() if gone.search(line) and "withdrawn" not in line]  # fmt: skip
    assert found == [] and len(files) > 300
