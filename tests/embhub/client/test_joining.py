"""A hospital joins by an invitation, behind a proxy that opens TLS with an authority of the hospital's own."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.__main__ import main as embhub_main
from embhub.client.member import joining
from embhub.client.wire.hub import Hub
from embhub.errors import EmbhubError, UsageError
from embhub.version import __version__
from tests.support import releases, servers
from tests.support.intercepting import AUTHORITY, Intercepting, intercepting
from tests.support.servers import RunningRegistry

HOST = "hub.example.org"
URL = f"https://{HOST}"
CLIENT = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


ORIGINAL = {name: os.environ[name] for name in CLIENT if name in os.environ}  # what this machine itself needs


@dataclass(frozen=True)
class Consortium:
    """A registry that is known as HOST, and the proxy of a hospital before it."""

    registry: RunningRegistry
    proxy: Intercepting

    def invite(self, *words: str) -> str:
        made = self.registry.ask("invite", "make", "--namespace", "radboud", "--role", "publisher", *words)
        return str(made["invites"][0]["invite"])


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    place = tmp_path_factory.mktemp("consortium")
    made = json.loads(servers.run_here("--dir", place / "registry", "init", "--url", URL, "--json").stdout)
    local = f"127.0.0.1:{servers.free_port()}"
    registry = RunningRegistry(place / "registry", f"http://{local}", made["token"], made["root_key"])
    registry.start()
    try:
        registry.add_key(releases.SITE, namespace="radboud")
        with intercepting({HOST: local}, place / "proxy") as proxy:
            yield Consortium(registry, proxy)
    finally:
        registry.stop()


@pytest.fixture
def hospital(consortium: Consortium, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine where nothing was set but what the hospital's IT department asks for."""
    for name in (*CLIENT, "EMBHUB_REGISTRY", "EMBHUB_TOKEN", "EMBHUB_NAMESPACE", "EMBHUB_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in consortium.proxy.variables().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    untouched = consortium.proxy.alter
    yield tmp_path
    consortium.proxy.alter = untouched


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """`embhub WORDS` as the program runs it; what it printed."""
    found = embhub_main([str(word) for word in words])
    said = capsys.readouterr()
    assert found == code, said.out + said.err
    return said.out + said.err


def doctor(capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, list[tuple[str, str]]]:
    out = run(capsys, "doctor", "--registry", URL, "--json", code=code)
    checks: dict[str, list[tuple[str, str]]] = {}
    for check in json.loads(out[: out.rindex("}") + 1])["checks"]:
        checks.setdefault(check["check"], []).append((check["outcome"], check["text"]))
    return checks


def publish(consortium: Consortium, repository: str, *, seed: int = 0) -> None:
    made = consortium.registry.ask("token", "list")["tokens"]
    name = next((row["user"] for row in made if row["user"] == "alice"), None)
    if name is None:
        consortium.registry.add_user("alice", namespace="radboud")
    token = consortium.registry.ask("token", "new", "alice")["token"]
    release = releases.make_release(repository=repository, artifact=releases.make_embedding(seed=seed), registry=HOST)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in consortium.proxy.variables().items():
            patch.setenv(key, value)
        Hub(URL, token=token).push(release, repository)


def test_from_nothing_to_a_trusted_pull(
    consortium: Consortium, hospital: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of the page, and what `embhub doctor` says after it."""
    publish(consortium, "radboud/first")
    monkeypatch.delenv("SSL_CERT_FILE")
    checks = doctor(capsys, code=7)
    assert any(outcome == "failed" and "certificate" in text for outcome, text in checks["registry"])
    monkeypatch.setenv("SSL_CERT_FILE", str(consortium.proxy.authority))
    checks = doctor(capsys)
    assert ("ok", f"HTTPS_PROXY is {consortium.proxy.url}") in checks["proxy"]
    assert any(AUTHORITY in text for _, text in checks["registry"]), "it says who opens the connection"
    assert any(outcome == "warning" and "not trusted yet" in text for outcome, text in checks["registry"])
    invite = consortium.invite()
    monkeypatch.setattr(joining_secret(), "ask_secret", lambda what: invite)
    joined = run(capsys, "login", "--invite")
    assert consortium.registry.root_fingerprint in joined and "radboud" in joined
    assert invite.partition(".")[0] not in joined
    checks = doctor(capsys)
    assert checks["trust"][0][0] == "ok" and any("logged in as radboud-" in text for _, text in checks["registry"])
    pulled = run(capsys, "pull", "radboud/first")
    assert "verified" in pulled or "trusted" in pulled, pulled
    again = run(capsys, "login", "--invite", invite, code=5)
    assert "unknown, used, or over" in again, "an invitation works once"


def joining_secret() -> Any:
    from embhub.cli import options

    return options


NETWORK = [
    ("search",), ("show", "radboud/verbs"), ("pull", "radboud/verbs"), ("login", "--show",),
    ("trust", "refresh"), ("log", "verify", URL), ("curate", "access", "list", "radboud/verbs"),
    ("pull", "radboud/verbs", "--lock", "kept.lock"),
    ("doctor",), ("curate", "yank", "radboud/verbs", "--reason", "a test"),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.slow
def test_every_verb_goes_through_the_proxy(
    consortium: Consortium, hospital: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(consortium, "radboud/verbs", seed=7)
    run(capsys, "login", "--invite", consortium.invite())
    for words in NETWORK:
        before = len(consortium.proxy.seen)
        run(capsys, *words, code=5 if "access" in words else 0)  # this repository is not gated, says the registry
        assert len(consortium.proxy.seen) > before, words
    monkeypatch.delenv("HTTPS_PROXY")
    run(capsys, "login", "--show", code=5)  # without the proxy this name leads nowhere: nothing went around it


def test_a_proxy_that_changes_a_file_is_caught(
    consortium: Consortium, hospital: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(consortium, "radboud/changed", seed=8)
    run(capsys, "login", "--invite", consortium.invite())
    for part in ("learned_embeds", "README.md", "publish.sigstore"):
        consortium.proxy.alter = lambda path, body, part=part: flipped(body) if part in path else body  # type: ignore[misc]
        said = run(capsys, "pull", "radboud/changed", code=4)
        assert not list(hospital.rglob("learned_embeds*")), said


@pytest.mark.thorough
def test_the_wheel_joins_and_pulls_in_half_an_hour(consortium: Consortium, hospital: Path) -> None:
    """The page with the programs that it names: a new environment, the wheel that we build, and nothing else of ours.

    Dependencies come from the environment of the tests: which index has them is no matter of this test.
    """
    publish(consortium, "radboud/wheel", seed=11)
    started, root = time.monotonic(), Path(__file__).parents[3]
    words = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(hospital / "dist"), str(root)]
    direct = {name: value for name, value in os.environ.items() if name not in CLIENT}
    subprocess.run(words, check=True, env=direct | ORIGINAL, capture_output=True)
    (wheel,) = (hospital / "dist").glob("embhub-*.whl")
    subprocess.run([sys.executable, "-m", "venv", hospital / "env"], check=True, capture_output=True)
    pip = [str(hospital / "env/bin/pip"), "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    (packages,) = (hospital / "env/lib").glob("python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def program(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [hospital / "env/bin/embhub", *arguments], input=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert f"embhub {__version__}" in program("doctor", "--registry", URL)
    program("login", "--invite", given=consortium.invite() + "\n")
    assert "logged in as radboud-" in program("doctor")
    program("pull", "radboud/wheel")
    program("verify", "wheel")
    place = subprocess.run(
        [hospital / "env/bin/python", "-c", "import embhub; print(embhub.__file__)"], capture_output=True, text=True,
        check=True, cwd=hospital,
    )  # fmt: skip
    assert place.stdout.startswith(str(hospital)), "the wheel was tried, not the source"
    assert time.monotonic() - started < 1800


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


def test_another_root_gets_no_code(
    consortium: Consortium, hospital: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A proxy that puts a registry of its own in place learns no invitation, and pins nothing."""
    servers.run_here("--dir", tmp_path / "evil", "init", "--url", URL)
    evil = servers.run_here("--dir", tmp_path / "evil", "trust", "export").stdout.encode()
    consortium.proxy.alter = lambda path, body: evil if path == "/embhub/v1/trust" else body
    invite = consortium.invite()
    del consortium.proxy.bodies[:]
    run(capsys, "login", "--invite", invite, code=4)
    assert not any(invite[:20].encode() in body for body in consortium.proxy.bodies)
    assert URL not in run(capsys, "trust", "list")
    consortium.proxy.alter = lambda path, body: body
    run(capsys, "login", "--invite", invite)


def test_no_code_looks_like_an_option(consortium: Consortium, monkeypatch: pytest.MonkeyPatch) -> None:
    """`embhub login --invite CODE` refused one code in 64."""
    drawn = iter(("-" + "a" * 31, "--" + "b" * 30, "c" + "-" * 31))
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: next(drawn))
    assert consortium.invite().startswith("c-")


def test_an_invitation_is_bound_and_ends(consortium: Consortium, hospital: Path) -> None:
    registry = consortium.registry

    def use(code: Any) -> servers.Answer:
        return registry.request("POST", "/embhub/v1/join", headers={"Host": HOST}, json_body={"code": code})

    code = consortium.invite().partition(".")[0]
    (row,) = [row for row in registry.ask("invite", "list")["invites"] if row["state"] == "open"][:1]
    made = use(code)
    assert made.status == 200 and made.json()["namespace"] == "radboud" and made.json()["role"] == "publisher"
    assert made.header("Cache-Control") == "no-store" and use(code).status == 403
    assert code not in (registry.folder / "audit.jsonl").read_text()
    revoked = consortium.invite().partition(".")[0]
    open_ids = [row["id"] for row in registry.ask("invite", "list")["invites"] if row["state"] == "open"]
    for invite_id in open_ids:
        registry.run("invite", "revoke", invite_id)
    assert use(revoked).status == 403
    over = consortium.invite("--expires-days", "1").partition(".")[0]
    with registry.opened() as opened, opened.database.writing() as db:
        db.execute("UPDATE invite SET expires = '2026-01-01T00:00:00.000Z' WHERE used IS NULL")
    assert use(over).status == 403
    for nonsense in (None, 5, "", "x" * 101, ["a"], "\x00"):
        assert use(nonsense).status in (400, 403)
    assert row["account"].startswith("radboud-")


def test_as_many_as_one_call_may_ask_for_have_names_of_their_own(consortium: Consortium) -> None:
    """With four hexadecimal digits, six in seven such calls were refused: a name was taken by another of the call."""
    made = consortium.registry.ask("invite", "make", "--namespace", "many", "--role", "reader", "--count", "500")
    assert len({row["account"] for row in made["invites"]}) == 500


def test_a_table_makes_twelve(consortium: Consortium, tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    rows = [f"site{number:02d},publisher,anna-{number}" for number in range(12)]
    table.write_text("namespace,role,account\n" + "\n".join(rows) + "\n")
    made = consortium.registry.ask("invite", "table", table)["invites"]
    assert len({row["invite"] for row in made}) == 12 and made[3]["account"] == "anna-3"
    assert all(joining.parse(row["invite"]).registry == URL for row in made)
    for wrong in ("namespace,role\nx", "namespace,role\nlumc,admin\n", "name\nlumc\n", "namespace,role\n", "a\x00b"):
        table.write_text(wrong)
        done = consortium.registry.run("invite", "table", table, check=False)
        assert done.returncode == 2, wrong
    table.write_text(
        "namespace,role,account\n" + "\n".join([*rows[:2], "site20,publisher,bob", "site21,publisher,bob"])
    )
    assert consortium.registry.run("invite", "table", table, check=False).returncode == 2
    assert not any(r["account"] == "bob" for r in consortium.registry.ask("invite", "list")["invites"]), "all or none"


@given(st.text(max_size=120))
def test_no_text_but_an_invitation_is_one(text: str) -> None:
    try:
        found = joining.parse(text)
    except UsageError:
        return
    except EmbhubError:
        return
    assert found.registry.startswith("http")


@given(st.binary(min_size=24, max_size=24), st.binary(min_size=32, max_size=32))
def test_an_invitation_is_read_as_it_was_written(secret: bytes, root: bytes) -> None:
    code = base64.urlsafe_b64encode(secret).decode()
    shown = base64.urlsafe_b64encode(root).decode().rstrip("=")
    text = f" {code}.{shown}@{URL}\n"
    found = joining.parse(text[:40] + "\n  " + text[40:])
    assert (found.code, found.registry) == (code, URL)
    assert found.fingerprint == "SHA256:" + base64.b64encode(root).decode().rstrip("=")
    assert re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", found.fingerprint)
