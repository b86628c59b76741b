"""What a site heard is kept whole, by many processes at once, and never forgotten in silence."""

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

from embhub.client.statements import reports
from embhub.errors import ConfigError
from embhub.release.checks import attested
from embhub.release.checks.attested import Attested
from embhub.release.checks.yanks import Yank
from tests.support.releases import make_trust

HUB, NAME, DIGEST = "https://hub.example.org", "radboud/prostate-cspca", "a" * 64
LEAK = Attested(
    namespace="nki", own=False, repository=NAME, version="1.0.0", verdict="leak-detected",
    created="2026-11-20T10:00:00Z", registry=HUB,
)  # fmt: skip
YANK = Yank(revision="0" * 40, version="1.0.0", reason="wrong labels", date="2026-11-20")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path))
    return tmp_path


def note(*audits: Attested, yanked: Yank | None = None, known: bool = True, version: str = "1.0.0") -> None:
    reports.remember(HUB, NAME, version, digest=DIGEST, yanked=yanked, known=known, audits=audits)


def test_a_yank_is_kept_until_the_registry_says_otherwise(home: Path) -> None:
    assert reports.yank(HUB, NAME, "1.0.0") is None and reports.audits(DIGEST) == ()
    note(yanked=YANK)
    note(known=False)
    assert reports.yank(HUB, NAME, "1.0.0") == YANK, "silence takes nothing back"
    assert reports.yank(HUB, NAME, "1.1.0") is None and reports.yank("https://other.example.org", NAME, "1.0.0") is None
    note()
    assert reports.yank(HUB, NAME, "1.0.0") is None
    assert stat.S_IMODE((home / "state/heard.json").stat().st_mode) == 0o600


def test_an_audit_is_kept_whatever_comes_later() -> None:
    note(LEAK)
    note()
    note(LEAK.model_copy(update={"verdict": "no-leak-detected", "created": "2026-11-19T10:00:00Z"}))
    assert reports.audits(DIGEST) == (LEAK,), "an older word of the same auditor is replayed in vain"
    later = LEAK.model_copy(update={"verdict": "insufficient-evidence", "created": "2026-11-21T10:00:00Z"})
    note(later)
    assert reports.audits(DIGEST) == (later,)


def test_a_flood_of_auditors_pushes_no_leak_out() -> None:
    note(LEAK)
    note(*(LEAK.model_copy(update={"namespace": f"a{n}", "verdict": "no-leak-detected"}) for n in range(99)))
    assert len(reports.audits(DIGEST)) == reports.MOST_AUDITORS and reports.audits(DIGEST)[0] == LEAK


@pytest.mark.thorough
def test_processes_lose_nothing_of_each_other(home: Path) -> None:
    code = (
        "import sys\nfrom embhub.client.statements import reports as heard\n"
        "from embhub.release.checks.yanks import Yank\n"
        "for n in range(20):\n"
        "    version = f'{sys.argv[1]}.{n}'\n"
        "    yank = Yank(revision='0' * 40, version=version, reason='r', date='d')\n"
        "    heard.remember('https://h.example', 'a/b', version, digest='b' * 64, yanked=yank, known=True, audits=())\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(json.loads((home / "state/heard.json").read_bytes())["yanks"]) == 60


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"yanks": {}, "more": 1}', b'{"audits": {"x": []}}'])
def test_a_damaged_memory_is_said(home: Path, damage: bytes) -> None:
    note(LEAK)
    (home / "state/heard.json").write_bytes(damage)
    for call in (lambda: reports.audits(DIGEST), note):
        with pytest.raises(ConfigError, match="cannot be read"):
            call()
    assert (home / "state/heard.json").read_bytes() == damage


ANYTHING = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), st.lists, max_leaves=9)


@given(st.binary(max_size=300) | st.dictionaries(st.sampled_from(["embedding", "audits"]), ANYTHING).map(json.dumps))
def test_arbitrary_answers_about_audits(data: bytes | str) -> None:
    with suppress(ValueError):
        found, refused = attested.parse(
            data if isinstance(data, bytes) else data.encode(), digest=DIGEST, trusts=[make_trust()]
        )
        assert found == () and refused == 0


@given(st.dictionaries(st.text(max_size=9), ANYTHING, max_size=3))
def test_arbitrary_bundles_vouch_for_nothing(bundle: dict[str, object]) -> None:
    document = {"embedding": DIGEST, "audits": [{"bundle": bundle}]}
    found, refused = attested.parse(json.dumps(document).encode(), digest=DIGEST, trusts=[make_trust()])
    assert found == () and refused == 1
