"""The memory of accepted releases: kept whole by many processes at once, and never forgotten in silence."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.errors import ConfigError
from embhub.site.memory import seen
from embhub.site.memory.seen import Accepted

HUB, NAME = "https://hub.example.org", "radboud/prostate-cspca"
ONE, TWO = "SHA256:one", "SHA256:two"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def note(version: str = "1.0.0", *, digest: str = "a" * 64, signer: str = ONE, name: str = NAME) -> None:
    seen.remember(HUB, name, version=version, digest=digest, signer=signer, card="c" * 64, keyring=3, on="2026-11-21")


@pytest.mark.thorough
def test_processes_lose_nothing_of_each_other() -> None:
    """Parallel pulls on a cluster: of 120 entries 50 were kept, and a lost one can be rolled back."""
    code = (
        "import sys\nfrom embhub.site.memory import seen\n"
        "for n in range(40):\n"
        "    seen.remember('https://h.example', f'a/b{sys.argv[1]}-{n}', version='1.0.0', digest='b' * 64)\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(seen.accepted()) == 120


def test_every_version_is_kept_with_what_was_signed(home: Path) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        note(version)
    sighting = seen.accepted()[HUB, NAME]
    assert sighting.of("1.9.0") == Accepted(
        version="1.9.0", digest="a" * 64, signer=ONE, card="c" * 64, keyring=3, on="2026-11-21"
    )
    newest = seen.newest(HUB, NAME)
    assert newest is not None and newest.version == "1.10.0"
    assert seen.newest("https://other.example.org", NAME) is None and seen.newest(HUB, "radboud/other") is None
    assert stat.S_IMODE((home / "state/seen.json").stat().st_mode) == 0o600


def test_what_a_stolen_key_signed_does_not_count() -> None:
    note("1.0.0")
    note("999999.0.0", signer=TWO)
    newest = seen.newest(HUB, NAME, stolen={TWO})
    assert newest is not None and newest.version == "1.0.0"
    assert seen.newest(HUB, NAME, stolen={ONE, TWO}) is None


def test_a_release_that_is_signed_anew_by_another_key_counts_by_that_key() -> None:
    """Signed within one second, both statements are the same bytes: the stolen key must not stay as its signer."""
    note("1.0.0", signer=TWO)
    note("1.0.0", signer=ONE)
    newest = seen.newest(HUB, NAME, stolen={TWO})
    assert newest is not None and newest.signer == ONE


def test_the_highest_versions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST_VERSIONS", 3)
    for number in (5, 3, 4, 1, 2):
        note(f"1.{number}.0")
    assert sorted(seen.accepted()[HUB, NAME].versions) == ["1.3.0", "1.4.0", "1.5.0"]


def test_a_key_is_expected_where_it_signed_before_or_was_confirmed() -> None:
    def change(fingerprint: str, name: str = NAME) -> tuple[str, ...] | None:
        found = seen.signer_change(HUB, name, fingerprint=fingerprint)
        return None if found is None else found.before

    assert change(ONE) is None, "of a registry that nothing was pulled from, nothing is expected"
    note(name="radboud/another")
    assert change(ONE) is None and change(TWO) == (ONE,)
    assert change(TWO, "radboud-west/x") is None, "another namespace, whose name begins alike"
    seen.confirm(HUB, [TWO])
    assert change(TWO) is None and change("SHA256:three") == (ONE,)
    assert change("SHA256:three", "lumc/x") == (), "a key that came to the keyring after a person agreed to it"


def test_an_unexpected_key_that_signs_a_release_anew_stays_unexpected() -> None:
    note()
    seen.remember(HUB, NAME, version="1.0.0", digest="a" * 64, signer=TWO, unexpected=True)
    assert seen.signer_change(HUB, NAME, fingerprint=TWO) is not None
    seen.confirm(HUB, [TWO])
    assert seen.signer_change(HUB, NAME, fingerprint=TWO) is None


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"[]", b'{"more": 1}', b'{"releases": {"x": 1}}', b'{"releases": {"x": {"1.0.0": {}}}}',
        b'{"releases": {"x": {"one": {"digest": "%s"}}}}' % (b"a" * 64), b'{"confirmed": {"x": "SHA256:a"}}',
        b'{"auditors": {"x": [1]}}', b'{"auditors": []}',
    ],
)  # fmt: skip
def test_a_damaged_memory_is_said(home: Path, damage: bytes) -> None:
    note()
    (home / "state/seen.json").write_bytes(damage)
    for call in (seen.accepted, note):
        with pytest.raises(ConfigError, match="cannot be read"):
            call()
    assert (home / "state/seen.json").read_bytes() == damage


LEAVES = st.none() | st.integers() | st.text(max_size=5) | st.just("a" * 64)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.dictionaries(st.sampled_from(["1.0.0", "x", "digest"]), inner), max_leaves=9
)


@given(st.dictionaries(st.sampled_from(["namespaces", "confirmed", "auditors", "releases"]), ANYTHING))
def test_whatever_is_in_the_file_is_read_whole_or_refused(document: dict[str, object]) -> None:
    with suppress(ValueError):
        memory = seen._parse(json.loads(json.dumps(document)))
        assert all(isinstance(found, Accepted) for held in memory.releases.values() for found in held.values())
