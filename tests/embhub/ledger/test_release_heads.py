"""The head of a site's ledger in each release: an older ledger put back is seen, and a head tells nothing else."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import shutil
from pathlib import Path

import pytest

from embhub.client.statements import memory
from embhub.ledger import audit_attempts, publications, release_heads
from embhub.ledger.books import open_books
from embhub.ledger.spending import HEAD
from embhub.refusals import Finding
from embhub.release import demands, verification
from embhub.release.checks import ledger_heads
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, Demand
from embhub.release.signing import sign
from embhub.site import config
from embhub.site.memory import ledger_heads as seen_heads
from embhub.trust import statement
from embhub.trust.statement import MOST_HEADS, LedgerHeads
from tests.support import releases
from tests.support.quick import quick
from tests.support.releases import NOW, ORIGIN, REPOSITORY, SITE

TRUST = releases.make_trust()
POLICY = STANDARD.demanding([Demand("one-ledger")])


@pytest.fixture(autouse=True)
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(tmp_path / "publisher", monkeypatch)


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(folder))
    return folder


def work(times: int = 1) -> None:
    """Something that the ledger counts, and nobody outside is to learn of."""
    for number in range(times):
        audit_attempts.begin_audit("ab" * 32, suite="quick", shadows=number, sides="cd" * 32)


def release(version: str) -> Release:
    unsigned = releases.make_release(artifact=releases.make_embedding(seed=3), version=version)
    return sign(unsigned, registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW, ledger=release_heads.head_of)


def heads(made: Release) -> LedgerHeads:
    shown = statement.read_publish(made.publish_bundle.statement).ledger
    assert shown is not None
    return shown


def accept(made: Release) -> Finding:
    """What a reader is told who accepts the release."""
    verified = memory.with_ledger_findings(verification.verify(made, trust=TRUST, now=NOW), made)
    memory.remember(verified, made, commit="0" * 40)
    (found,) = [one for one in verified.findings if one.check == "ledger"]
    if found.outcome == "ok":
        demands.hold(verified, POLICY)
    else:
        with pytest.raises(PolicyRefusedError):
            demands.hold(verified, POLICY)
    return found


def test_a_ledger_that_goes_on_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        work()
        made.append(release(version))
    enter(tmp_path / "reader", monkeypatch)
    said = [accept(one).text for one in made]
    assert said[0] == "release 1 by the privacy ledger of radboud, seen here for the first time"
    assert said[2] == "release 3 by the privacy ledger of radboud, continues the one seen before"
    assert accept(made[1]).outcome == "ok", "an older release is no older ledger"


@pytest.mark.parametrize("unpublished", quick([1], thorough=[0, 3]))
def test_an_older_ledger_that_was_put_back_is_seen_at_the_next_release(
    publisher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpublished: int
) -> None:
    work()
    first = release("1.0.0")
    shutil.copytree(publisher, tmp_path / "kept")
    work(3)
    second = release("1.1.0")
    shutil.rmtree(publisher)
    shutil.copytree(tmp_path / "kept", publisher)
    for number in range(unpublished):  # signed and shown to nobody, so that the numbers go on
        release(f"1.1.{number + 5}")
    third = release("1.2.0")
    enter(tmp_path / "reader", monkeypatch)
    assert [accept(one).outcome for one in (first, second)] == ["ok", "ok"]
    found = accept(third)
    assert found.outcome == "warning" and "an older privacy ledger of radboud was put back: release 2" in found.text
    enter(tmp_path / "late reader", monkeypatch)
    assert accept(third).outcome == "ok" and accept(second).outcome == "warning", "whoever sees both sees it"


def test_a_second_ledger_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work()
    first = release("1.0.0")
    enter(tmp_path / "other machine", monkeypatch)
    work()
    second, third = release("1.1.0"), release("1.2.0")
    enter(tmp_path / "reader", monkeypatch)
    assert accept(first).outcome == "ok"
    assert "another privacy ledger" in accept(second).text
    assert "by 2 privacy ledgers" in accept(third).text, "and it stays said"
    assert accept(first).outcome == "ok"


def test_a_ledger_that_was_removed_is_another_one_though_its_key_stays(
    publisher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work()
    first = release("1.0.0")
    shutil.rmtree(config.paths().state / "budget")
    (config.paths().config / "budget.head").unlink()
    work()
    second = release("1.1.0")
    enter(tmp_path / "reader", monkeypatch)
    assert [accept(one).outcome for one in (first, second)] == ["ok", "warning"]


def test_a_release_without_a_head_is_said_after_one_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work()
    first = release("1.0.0")
    bare = releases.make_release(version="1.1.0")
    enter(tmp_path / "reader", monkeypatch)
    accept(first)
    assert "shows no privacy ledger" in accept(bare).text


def test_signing_the_same_release_again_shows_the_same_heads() -> None:
    work()
    first = heads(release("1.0.0"))
    work()
    assert heads(release("1.0.0")) == first
    assert heads(release("1.1.0")).heads[0] == first.heads[0]


def test_a_head_goes_out_with_a_release_and_at_no_other_time() -> None:
    """Else the log would show when a site trains. Work adds none to the ledger, and only publishing asks for one."""
    work(3)
    with open_books() as books:
        before = [entry.kind for entry in books.ledger.read()]
    assert len(before) > 3 and HEAD not in before
    release("1.0.0")
    with open_books() as books:
        assert [entry.kind for entry in books.ledger.read()] == [*before, HEAD]
    sources = Path(release_heads.__file__).parents[1]
    asking = {
        str(file.relative_to(sources)) for file in sources.rglob("*.py") if "release_heads.head_of" in file.read_text()
    }
    assert asking == {"client/publishing/push.py"}


def test_a_site_without_a_ledger_shows_none() -> None:
    assert release_heads.head_of(ORIGIN, REPOSITORY, "1.0.0", "ab" * 32) is None
    assert "ledger" not in release("1.0.0").publish_bundle.statement.predicate


def test_the_size_and_the_number_tell_nothing_of_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for trainings in (1, 40):
        enter(tmp_path / str(trainings), monkeypatch)
        work()
        release("1.0.0")
        work(trainings)
        publications.note_published("ab" * 32, REPOSITORY, "0.1.0")
        shown = release("1.1.0").publish_bundle.statement.predicate["ledger"]
        sizes.append((len(json.dumps(shown)), shown["number"], set(shown)))
    assert sizes[0] == sizes[1] == (sizes[0][0], 2, {"id", "number", "heads"})


def test_whoever_has_the_ledger_and_every_image_and_not_the_key_computes_no_head(publisher: Path) -> None:
    """Every plain hash, and every HMAC under what is public, over every line and every part of a line of the ledger."""
    work(2)
    shown = heads(release("1.0.0"))
    secret_values = {shown.id, *shown.heads}
    lines = (config.paths().state / "budget" / "ledger.jsonl").read_bytes().splitlines()
    before = lines[:-1]
    parts = {part.encode() for line in before for part in _texts(json.loads(line))}
    public = {ORIGIN.encode(), REPOSITORY.encode(), b"1.0.0", b"", shown.id.encode(), bytes.fromhex(shown.id)}
    known = {*before, *parts, *public, b"\n".join(before)}
    guesses = {hashlib.sha256(one).hexdigest() for one in known}
    guesses |= {hmac.new(key, one, hashlib.sha256).hexdigest() for key, one in itertools.product(public, known)}
    assert not secret_values & guesses
    assert not any(value.encode() in line for value in shown.heads for line in before)
    with open_books() as books:
        assert {books.ledger.tip[1]}.isdisjoint(secret_values)


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    return [str(value)]


def test_two_sites_with_the_same_work_show_nothing_in_common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for name in ("a", "b"):
        enter(tmp_path / name, monkeypatch)
        work(2)
        shown.append(heads(release("1.0.0")))
    elsewhere = release_heads.head_of("other.example.org", REPOSITORY, "1.0.0", "ab" * 32)
    assert elsewhere is not None and elsewhere.number == 1, "another registry sees another ledger"
    values = [{one.id, *one.heads} for one in (*shown, elsewhere)]
    assert sum(map(len, values)) == len(set().union(*values))


def test_of_a_long_ledger_the_newest_heads_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = {number: f"{number:064x}" for number in range(1, 200)}

    def shown(number: int) -> LedgerHeads:
        kept = [everything[one] for one in range(max(1, number - MOST_HEADS + 1), number + 1)]
        return LedgerHeads(id="ab" * 32, number=number, heads=tuple(kept))

    enter(tmp_path / "reader", monkeypatch)
    assert ledger_heads.numbered(shown(100)) == {one: everything[one] for one in range(37, 101)}
    seen_heads.remember("r", "n", "ab" * 32, ledger_heads.numbered(shown(70)))
    known = seen_heads.known("r", "n")
    assert ledger_heads.compare(shown(100), known, namespace="n")[0].outcome == "ok"
    assert "too far" in ledger_heads.compare(shown(199), known, namespace="n")[0].text
    wrong = LedgerHeads(id="ab" * 32, number=1, heads=(everything[1], everything[2]))
    assert ledger_heads.compare(wrong, known, namespace="n")[0].outcome == "warning"
