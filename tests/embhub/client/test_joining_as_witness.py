"""A site that joins is a witness of the registry's log: the policy `strict` works for it on the first day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.log import logged
from embhub.client.monitor import watching
from embhub.client.wire.hub import Hub
from embhub.log import checkpoints
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import ForkedLogError
from tests.support import vouching
from tests.support.releases import AUDITOR, SITE, make_embedding, make_release, resigned
from tests.support.servers import RunningRegistry, running_registry

FIRST, LATER = "radboud/first", "radboud/later"
STRICT = ("--policy", "strict")


def push(registry: RunningRegistry, repository: str, *, seed: int) -> None:
    """A release that an auditor confirmed: witnesses are all that a newcomer lacks."""
    release = make_release(repository=repository, artifact=make_embedding(seed=seed))
    token = registry.ask("token", "new", "alice")["token"]
    Hub(registry.url, token=token).push(resigned(release, audit_key=AUDITOR), repository)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("hub")) as running:
        running.add_key(SITE, namespace="radboud")
        running.add_key(AUDITOR, namespace="nki", role="audit")
        running.add_user("alice", namespace="radboud")
        push(running, FIRST, seed=4)
        yield running


@pytest.fixture
def home(registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_REGISTRY", registry.url)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def invite(registry: RunningRegistry) -> str:
    made = registry.ask("invite", "make", "--namespace", "radboud", "--role", "publisher")
    return str(made["invites"][0]["invite"])


def test_strict_works_on_the_first_day(
    registry: RunningRegistry, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", "--invite", invite(registry)]) == 0
    said = capsys.readouterr()
    key = home / "config/witness.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    (own,) = logged.site_policy().witnesses.values()
    assert str(own) in said.out and own.name.endswith("/radboud-witness")
    assert f"embhub log watch {registry.url} --cosign {key} --namespace radboud" in said.err
    assert main(["pull", FIRST, *STRICT]) == 0
    assert main(["verify", FIRST, *STRICT, "--all"]) == 0
    assert "that this site's witness cosigned" in capsys.readouterr().out
    assert main(["verify", "first", *STRICT]) == 0


def test_what_is_published_later_waits_for_the_next_round(
    registry: RunningRegistry, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", "--invite", invite(registry)]) == 0
    push(registry, LATER, seed=5)
    assert main(["pull", LATER, *STRICT]) == 8
    watch = ["log", "watch", registry.url, "--cosign", str(home / "config/witness.pem")]
    assert main(watch) == 5, "the operator has not accepted this witness, and cron says so"
    assert "the registry did not take it" in capsys.readouterr().err
    assert main(["pull", LATER, *STRICT]) == 0, "this site's own witness saw it"
    registry.run("log", "witness", (home / "config/witness.pem.vkey").read_text().strip())
    assert main(watch) == 0


def test_another_history_than_the_one_that_was_cosigned_is_a_fork(registry: RunningRegistry, home: Path) -> None:
    """A registry that shows this site another history later cannot have it accepted."""
    assert main(["login", "--invite", invite(registry)]) == 0
    key, _ = watching.find(registry.url)
    seen = watching.fetch(watching.source_of(registry.url), key)
    with registry.opened() as opened:
        signer = opened.private_keys.log_key(key.name)
    assert signer is not None
    forged = checkpoints.sign(Checkpoint(key.name, seen.size, b"\7" * 32), by=signer)
    with pytest.raises(ForkedLogError):
        logged.compare(key, checkpoints.open_signed(forged.to_bytes(), log=key), None)


def test_a_site_need_not_be_a_witness(
    registry: RunningRegistry, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", "--invite", invite(registry), "--no-witness"]) == 0
    assert not (home / "config/witness.pem").exists() and not (home / "config/log-policy").exists()
    assert main(["pull", FIRST, *STRICT]) == 8
    assert "embhub log watch --cosign" in capsys.readouterr().err


def test_witnesses_that_a_site_named_stay_the_ones_it_relies_on(registry: RunningRegistry, home: Path) -> None:
    before = vouching.rely(home).read_text()
    assert main(["login", "--invite", invite(registry)]) == 0
    assert (home / "config/log-policy").read_text() == before
    assert main(["pull", FIRST, *STRICT]) == 8, "another site's witness has not cosigned"


def test_a_log_that_is_not_read_ends_no_account(
    registry: RunningRegistry, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The invitation is used up by then, so the account is shown before the error."""
    (home / "config").mkdir(parents=True)
    (home / "config/witness.pem").write_text("no key")
    (home / "config/witness.pem").chmod(0o600)
    assert main(["login", "--invite", invite(registry)]) == 7
    said = capsys.readouterr()
    assert "radboud-" in said.out and "the account was made" in said.err
    assert main(["login", "--show"]) == 0
