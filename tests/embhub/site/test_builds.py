"""Which build runs: the digest of a wheel's files, of what pip and uv install of it, and of what was changed since."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.site import builds
from embhub.version import __version__
from tests.support.quick import examples

ROOT = Path(__file__).parents[3]
FOLDER = f"embhub-{__version__}.dist-info"
SAID = "import json; from embhub.site import builds; print(json.dumps(builds.installed()))"
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
UV = [shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv", "pip", "install", "--quiet", "--no-deps",
      "--offline", "--python", sys.executable, "--target"]  # fmt: skip


def make_wheel(folder: Path) -> Path:
    """A small wheel named embhub, which holds the code under test and a file beside it."""
    files = {f"embhub/{name}": (ROOT / "embhub" / name).read_bytes() for name in ("site/builds.py", "version.py")}
    files |= {
        "embhub/__init__.py": b"",
        "embhub/site/__init__.py": b"",
        "embhub/pages/base.html": "<p>größer</p>\n".encode(),
        f"{FOLDER}/METADATA": f"Metadata-Version: 2.1\nName: embhub\nVersion: {__version__}\n".encode(),
        f"{FOLDER}/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{FOLDER}/entry_points.txt": b"[console_scripts]\nembhub = embhub.site.builds:installed\n",
    }
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    for name, data in files.items():
        digest = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(data)))
    rows.writerow((f"{FOLDER}/RECORD", "", ""))
    wheel = folder / f"embhub-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in {**files, f"{FOLDER}/RECORD": record.getvalue().encode()}.items():
            archive.writestr(name, data)
    return wheel


def digest_of(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return builds.digest_of({name: archive.read(name) for name in archive.namelist()})


def say(site: Path, *, first: str = "") -> builds.Installed:
    """What the code in a folder of packages says of itself, run twice: the first writes bytecode.

    Args:
        first: What the process runs before.
    """
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    for _ in range(2):
        words = [sys.executable, "-c", first + SAID]
        done = subprocess.run(words, cwd=site.parent, env=environment, capture_output=True, text=True, check=True)
    return builds.Installed(*json.loads(done.stdout))


# uv first: an environment that it made has no pip
@pytest.fixture(params=[UV, PIP], ids=["uv", "pip"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if shutil.which(request.param[0]) is None:
        pytest.skip("uv is not there; the extra `dev` brings it")
    subprocess.run([*request.param, str(tmp_path / "site"), str(make_wheel(tmp_path))], check=True)
    return tmp_path / "site"


def test_what_pip_and_uv_install_has_the_digest_of_its_wheel(site: Path) -> None:
    wheel = next(site.parent.glob("*.whl"))
    assert say(site) == (__version__, "wheel", digest_of(wheel))
    assert list(site.rglob("*.pyc")) and (site / FOLDER / "INSTALLER").exists(), "what an installer adds is left out"


def test_anybody_computes_it_without_embhub(site: Path) -> None:
    """As the reference says; the shell's tools agree."""
    command = "find -L embhub -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    assert command in (ROOT / "docs/reference/privacy-claim.md").read_text()
    done = subprocess.run(["bash", "-c", command], cwd=site, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == say(site).digest


def test_a_changed_an_added_and_a_deleted_file_are_a_changed_build(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    page, module = "site/embhub/pages/base.html", "site/embhub/noise.py"
    changes: dict[str, Callable[[], object]] = {
        "changed": lambda: (tmp_path / page).write_text("<p>gr</p>\n"),
        "added": lambda: (tmp_path / module).write_text("sigma = 0\n"),
        "added and compiled": lambda: (tmp_path / module).with_suffix(".pyc").write_bytes(b"what is imported too"),
        "badly named": lambda: (tmp_path / os.fsdecode(b"site/embhub/\xff.py")).write_text(""),
        "deleted": lambda: (tmp_path / page).unlink(),
        "forged": lambda: next((tmp_path / "site").glob("*.dist-info/RECORD")).write_text("embhub/a.py,sha256=,\n"),
    }
    digests = {digest_of(wheel)}
    for name, change in changes.items():
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        zipfile.ZipFile(wheel).extractall(tmp_path / "site")
        assert say(tmp_path / "site").kind == "wheel"
        change()
        found = say(tmp_path / "site")
        assert found.kind == "changed", name
        assert (found.digest in digests) is (name == "forged"), "the digest is that of what is there"
        digests.add(str(found.digest))


def test_what_no_wheel_installed_is_a_development_build(tmp_path: Path) -> None:
    assert builds.installed() == (__version__, "development", None), "this tree, installed for editing"
    zipfile.ZipFile(make_wheel(tmp_path)).extractall(tmp_path / "site")
    shutil.copytree(tmp_path / "site/embhub", tmp_path / "source/embhub")
    both = f"{tmp_path / 'source'}:{tmp_path / 'site'}"
    done = subprocess.run([sys.executable, "-c", SAID], cwd=tmp_path, env={"PYTHONPATH": both}, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert json.loads(done.stdout)[1:] == ["development", None], "the wheel is installed, and is not what runs"


UNREADABLE = """
import pathlib
whole = pathlib.Path.read_bytes
def read(path):
    if path.suffix == ".html":
        raise OSError(5, "a bad disk")
    return whole(path)
pathlib.Path.read_bytes = read
"""


def test_what_cannot_be_read_raises_nothing(tmp_path: Path) -> None:
    """It would end a training that has nothing to do with it."""
    zipfile.ZipFile(wheel := make_wheel(tmp_path)).extractall(tmp_path / "site")
    found = say(tmp_path / "site", first=UNREADABLE)
    assert found.kind == "changed" and found.digest != digest_of(wheel)
    record = tmp_path / "site" / FOLDER / "RECORD"
    for data in (b"embhub/a.py,sha256=\xff,1\n", b"embhub/" + b"a" * 200_000 + b",sha256=a,1\n", b""):
        record.write_bytes(data)
        assert say(tmp_path / "site") == (__version__, "development", None)
    record.unlink()
    assert say(tmp_path / "site") == (__version__, "development", None)


def test_a_record_for_editing_names_no_file_of_the_package() -> None:
    text = f"_embhub.pth,sha256=abc,9\n{FOLDER}/METADATA,sha256=abc,9\n../bin/embhub,sha256=x,1\n"
    assert builds.recorded(text) == {}


@given(st.text(max_size=200), st.lists(st.text(max_size=30), max_size=5))
@settings(max_examples=examples(100))
def test_any_text_is_read_as_a_record(text: str, names: list[str]) -> None:
    assert all(name.startswith("embhub/") for name in builds.recorded(text))
    rows = io.StringIO()
    csv.writer(rows).writerows((f"embhub/{name}", "sha256=x", "1") for name in names)
    written = {f"embhub/{name}" for name in names if "__pycache__" not in name and name == "".join(name.splitlines())}
    assert written <= set(builds.recorded(rows.getvalue()))
