"""The fuzzer's corpus is replayed without the fuzzer; then the fuzzer itself, for two seconds."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.log_parsers import LOG_PARSERS
from tests.fuzz.make_corpus import CORPUS, MAKERS
from tests.fuzz.targets import TARGETS
from tests.support.servers import environment

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())
WHEELS = sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 14)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_what_its_script_writes(target: str) -> None:
    """Signatures differ from run to run, so names and lengths of about the same."""
    made = dict(MAKERS[target]())
    kept = {path.name: path.stat().st_size for path in (CORPUS / target).iterdir()}
    assert {name for name in kept if not name.startswith("regression-")} == set(made)
    assert all(abs(len(data) - kept[name]) < 40 for name, data in made.items())
    assert sum(kept.values()) < 100_000
    for data in made.values():
        TARGETS[target](data)


@pytest.mark.parametrize("parser", LOG_PARSERS)
def test_each_parser_of_the_log_takes_the_whole_corpus(parser: str) -> None:
    for path in FILES:
        LOG_PARSERS[parser](path.read_bytes())


def test_the_page_names_each_parser_of_the_log() -> None:
    page = (ROOT / "docs/reference/hostile-input.md").read_text()
    assert re.findall(r"`(log-[a-z]+)` \(", page) == list(LOG_PARSERS)


def fuzz(target: str, seconds: int, tmp_path: Path) -> None:
    """Fuzz in a process of its own, from a copy of the corpus; what it finds fails the test."""
    if importlib.util.find_spec("atheris") is None:
        if WHEELS:
            pytest.fail("atheris is not installed though there are wheels for this platform: pip install -e '.[dev]'")
        pytest.skip(f"there are no wheels of atheris for {sys.platform} {platform.machine()} {sys.version_info[:2]}")
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    for folder in CORPUS.iterdir() if target == "all" else [CORPUS / target]:
        shutil.copytree(folder, corpus / folder.name)
    found.mkdir()
    options = [f"-max_total_time={seconds}", "-rss_limit_mb=1500", "-timeout=10", "-max_len=6000",
               f"-artifact_prefix={found}/", f"-dict={Path(__file__).parent / 'words.dict'}"]  # fmt: skip
    # Linux counts the starter's peak memory as the started process's; a small shell in between keeps ours out of it.
    small_starter = ["sh", "-c", '"$@"; exit $?', "sh"]
    done = subprocess.run(
        [*small_starter, sys.executable, "-m", "tests.fuzz.fuzz", target, *options, str(corpus)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=seconds + 240, check=False,
    )  # fmt: skip
    inputs = {path.name: path.read_bytes()[:3000] for path in found.iterdir()}
    assert done.returncode == 0 and not inputs, f"{inputs}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Done " in done.stderr and "INITED" in done.stderr
    runs = int(done.stderr.rsplit("Done ", 1)[1].split()[0])
    assert runs > 20 * seconds, "the fuzzer hardly ran"


@pytest.mark.thorough
@pytest.mark.parametrize("target", [*TARGETS, "all"])
def test_two_seconds(target: str, tmp_path: Path) -> None:
    fuzz(target, 2, tmp_path)
