"""`whoami`, `logout`, `doctor`, `config show`, `completion`: what a person asks of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.client.member import doctor
from embhub.site import config
from embhub.site.signing import keys
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site

SECRET = "hf_emb_very-secret-token"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def token(registry: RunningRegistry) -> str:
    return registry.add_user("alice", namespace="radboud")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in (*doctor._PROXIES, *map(str.lower, doctor._PROXIES), *doctor._AUTHORITIES, "EMBHUB_POLICY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Site(tmp_path / "site").enter(monkeypatch)


def ask(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    got = main([*words, "--json"])
    said = capsys.readouterr()
    assert got == code, said.err
    assert SECRET not in said.out + said.err
    return json.loads(said.out)


def outcomes(said: Any, check: str) -> list[tuple[str, str]]:
    return [(row["outcome"], row["text"]) for row in said["checks"] if row["check"] == check]


def test_log_in_ask_who_and_log_out(
    site: Site, registry: RunningRegistry, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["login", "--registry", registry.url, "--access-token", token]) == 0
    said = ask(capsys, "login", "--show")
    assert (said["account"], said["namespaces"]) == ("alice", ["radboud"])
    assert said["registry"] == registry.url and said["token_from"] == "embhub login"
    assert ask(capsys, "login", "--forget")["logged_out_of"] == registry.url
    assert config.token_for(registry.url) is None
    assert ask(capsys, "login", "--forget", "--registry", registry.url, code=7)["error"]["message"].startswith(
        "no access token"
    )
    assert ask(capsys, "login", "--show", "--registry", registry.url, code=5)["error"]["exit_code"] == 5


def test_logging_out_of_one_keeps_the_other_and_says_what_is_left(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        path = config.save_credentials(f"https://{name}.example.org", SECRET)
    said = ask(capsys, "login", "--forget", code=7)["error"]
    assert "https://a.example.org, https://b.example.org" in said["hint"]
    monkeypatch.setenv("EMBHUB_TOKEN", SECRET)
    assert (
        ask(capsys, "login", "--forget", "--registry", "https://a.example.org")["beware"] == "EMBHUB_TOKEN is still set"
    )
    assert config.registries_logged_in() == ("https://b.example.org",)
    assert path.stat().st_mode & 0o777 == 0o600


def test_settings_with_their_sources_and_without_secrets(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config.paths().config
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("registry: https://a.example.org\nsite: {publisher: Radboud}\n")
    config.save_credentials("https://a.example.org", SECRET)
    monkeypatch.setenv("EMBHUB_KEY", "second")
    rows = {row["setting"]: (row["value"], row["source"]) for row in ask(capsys, "config", "show")}
    assert rows["registry"] == ("https://a.example.org", str(folder / "config.yaml"))
    assert rows["key"] == ("second", "EMBHUB_KEY")
    assert rows["site"] == ("publisher", str(folder / "config.yaml"))
    assert rows["token"] == ("set (not shown) for https://a.example.org", str(folder / "credentials.yaml"))
    assert rows["policy_file"] == ("config/policy.yaml", "default")
    assert rows["config folder"] == (str(folder), "EMBHUB_HOME")
    assert set(rows) >= {setting.name for setting in config.SETTINGS} - {"home"}
    monkeypatch.setenv("EMBHUB_TOKEN", SECRET)
    rows = {row["setting"]: (row["value"], row["source"]) for row in ask(capsys, "config", "show")}
    assert rows["token"] == ("set (not shown)", "EMBHUB_TOKEN")


def test_doctor_of_an_empty_home(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    said = ask(capsys, "doctor")
    assert said["ok"] is True
    assert {row["check"] for row in said["checks"]} == {
        "config", "keys", "trust", "proxy", "registry", "versions", "base", "disk", "gpu"
    }  # fmt: skip
    assert [outcome for outcome, _ in outcomes(said, "trust")] == ["warning"]
    assert [text.split(",")[0] for _, text in outcomes(said, "base")] == ["builtin", "builtin-xray"]
    assert not config.paths().state.exists(), "nothing was created"


def test_doctor_of_a_site_that_works(
    site: Site, registry: RunningRegistry, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site.trust(registry)
    keys.generate("default")
    config.save_credentials(registry.url, token)
    said = ask(capsys, "doctor", "--registry", registry.url)
    told = [text for _, text in outcomes(said, "registry")]
    assert said["ok"] and [told[0], *told[2:]] == [f"{registry.url} answers", "logged in as alice; namespaces: radboud"]
    assert outcomes(said, "keys")[0][0] == "ok" and registry.root_fingerprint in outcomes(said, "trust")[0][1]
    assert token not in json.dumps(said)


def test_doctor_without_a_network(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = "http://127.0.0.1:9"
    said = ask(capsys, "doctor", "--registry", nobody, code=7)
    (found,) = outcomes(said, "registry")
    assert found[0] == "failed" and "cannot be reached" in found[1] and outcomes(said, "disk")
    said = ask(capsys, "doctor", "--registry", nobody, "--offline")
    assert outcomes(said, "registry") == [("note", f"{nobody} was not asked (--offline)")]


def test_doctor_finds_what_is_broken(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = config.paths().config
    (folder / "keys").mkdir(parents=True)
    (folder / "config.yaml").write_text("registri: https://a.example.org\n")
    (folder / "keys" / "default.pem").write_text("no key")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@proxy.example.org:3128")
    said = ask(capsys, "doctor", "--offline", code=7)
    assert said["ok"] is False
    assert outcomes(said, "config")[0][0] == outcomes(said, "keys")[0][0] == "failed"
    assert ("failed", "SSL_CERT_FILE names /nowhere/ca.pem, which is not there") in outcomes(said, "proxy")
    assert ("ok", "HTTPS_PROXY is http://proxy.example.org:3128") in outcomes(said, "proxy")


@pytest.mark.thorough
def test_doctor_imports_no_torch_where_there_is_none(site: Site) -> None:
    code = (
        "import sys\nfrom importlib import util\nreal = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        "from embhub.__main__ import main\ncode = main(['doctor', '--offline'])\nprint('LOADED', code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, _, loaded = done.stdout.partition("LOADED ")
    assert loaded.split()[0] == "0" and "torch" not in loaded.split()
    assert "not checked: torch is not installed" in said


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"_EMBHUB_COMPLETE={shell}_complete" in script


def test_the_script_completes_in_bash(tmp_path: Path) -> None:
    """Bash itself runs the script's function, which asks the program."""
    program = tmp_path / "embhub"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m embhub "$@"\n')
    program.chmod(0o755)
    ask_bash = (
        'eval "$(embhub config completion bash)"; COMP_WORDS=(embhub eva); COMP_CWORD=1; _embhub_completion embhub;'
        ' echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask_bash], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["evaluate"]


@pytest.mark.parametrize(
    "words",
    [
        ("--show", "--forget"),
        ("--invite", "x", "--device"),
        ("--invite", "x", "--registry", "http://a"),
        ("--no-witness",),
    ],
)
def test_login_does_one_thing_at_a_time(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["login", *words]) == 2
    assert "exclude each other" in (said := capsys.readouterr().err) or "invit" in said
