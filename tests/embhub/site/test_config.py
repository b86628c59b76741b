"""Settings: one precedence, private credentials, and a reference that lists every one of them."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from embhub.cards.card_schema import FIELDS
from embhub.errors import ConfigError
from embhub.site import config

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for setting in config.SETTINGS:
        if setting.variable:
            monkeypatch.delenv(setting.variable, raising=False)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _write(home: Path, text: str, *, name: str = "config.yaml", mode: int = 0o644) -> Path:
    path = home / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_one_folder_or_the_xdg_ones(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.paths() == config.Paths(home / "config", home / "state", home / "cache")
    monkeypatch.delenv("EMBHUB_HOME")
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    names = ("CONFIG", "STATE", "CACHE")
    assert config.paths() == config.Paths(*(tmp_path / kind / "embhub" for kind in names))
    assert not home.exists()


def test_argument_over_environment_over_file_over_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.load() == config.Settings()
    _write(home, "registry: https://file.example\nnamespace: file\nkey: file\nsite:\n  publisher: Hospital A\n")
    settings = config.load()
    assert (settings.registry, settings.namespace, settings.key) == ("https://file.example", "file", "file")
    assert dict(settings.site) == {"publisher": "Hospital A"}
    for name in ("REGISTRY", "NAMESPACE", "KEY"):
        monkeypatch.setenv(f"EMBHUB_{name}", "https://environment.example" if name == "REGISTRY" else "environment")
    settings = config.load()
    assert (settings.registry, settings.namespace, settings.key) == (
        "https://environment.example",
        *["environment"] * 2,
    )
    settings = config.load(registry="http://argument.example:8642/", namespace="argument", key="argument")
    assert (settings.registry, settings.namespace, settings.key) == ("http://argument.example:8642", *["argument"] * 2)


def test_an_empty_variable_is_no_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", " ")
    assert config.load().registry is None


def test_a_token_belongs_to_its_registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config.save_credentials("https://a.example/", "token-a")
    config.save_credentials("https://b.example", "token-b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert config.token_for("https://a.example") == "token-a"
    assert config.load(registry="https://b.example").token == "token-b"
    assert config.load(registry="https://c.example").token is None
    assert config.load().token is None
    monkeypatch.setenv("EMBHUB_TOKEN", "token-environment")
    assert config.load(registry="https://b.example").token == "token-b"
    monkeypatch.setenv("EMBHUB_REGISTRY", "https://b.example:443")
    assert config.load(registry="https://b.example").token == "token-environment"
    assert config.load(registry="https://a.example").token == "token-a"
    assert config.load(registry="https://b.example", token="token-argument").token == "token-argument"


def test_a_token_is_not_printed(home: Path) -> None:
    assert "hidden" not in repr(config.Settings(token="hidden"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_credentials_open_to_others_are_refused(home: Path, mode: int) -> None:
    path = config.save_credentials("https://a.example", "secret")
    path.chmod(mode)
    for call in (
        lambda: config.token_for("https://a.example"),
        lambda: config.load(registry="https://a.example"),
        lambda: config.save_credentials("https://b.example", "other"),
    ):
        with pytest.raises(ConfigError, match="other users") as caught:
            call()
        assert "chmod" in caught.value.hint
        assert "secret" not in str(caught.value)


def test_a_configuration_that_anybody_may_write_is_refused(home: Path) -> None:
    _write(home, "registry: https://a.example\n", mode=0o666)
    with pytest.raises(ConfigError, match="other users"):
        config.load()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("token: abc", "holds a token"),
        ("registri: x", "unknown setting"),
        ("- a", "name: value"),
        ("registry: [a]", "not text"),
        ("key: 3", "not text"),
        ("site: x", "not a block"),
        ("site: {diagnosis: x}", "unknown card field"),
        ("registry: a\nregistry: b", "twice"),
        ("a: *b", "aliases"),
        ("a: [", "line"),
        ("3: x", "name: value"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(home: Path, text: str, problem: str) -> None:
    _write(home, text)
    with pytest.raises(ConfigError, match=problem) as caught:
        config.load()
    assert "config.yaml" in caught.value.message
    assert caught.value.hint


def test_credentials_that_are_no_text_are_refused(home: Path) -> None:
    _write(home, "https://a.example: [1]", name="credentials.yaml", mode=0o600)
    with pytest.raises(ConfigError, match="not text"):
        config.token_for("https://a.example")


@pytest.mark.parametrize(
    ("address", "clean"),
    [
        ("https://hub.example.org/", "https://hub.example.org"),
        ("HTTPS://Hub.Example.org", "https://hub.example.org"),
        ("http://127.0.0.1:8642", "http://127.0.0.1:8642"),
        ("http://[::1]:8642/", "http://[::1]:8642"),
    ],
)
def test_one_spelling_of_an_address(address: str, clean: str) -> None:
    assert config.check_registry(address) == clean


@pytest.mark.parametrize(
    "address",
    [
        "hub.example.org",
        "ftp://a",
        "https://",
        "https://user:secret@a",
        "https://a/path",
        "https://a?x=1",
        "https://a:x",
        "https://a:99999",
        "https://[::1",
    ],
)
def test_what_is_no_address_of_a_registry(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(registry=address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("hub.example.org", "did you mean https://hub.example.org?"),
        ("127.0.0.1:8642", "did you mean http://127.0.0.1:8642?"),
        ("localhost:8642", "did you mean http://localhost:8642?"),
        ("two words", "give the address"),
        ("ftp://a", "give the address"),
    ],
)
def test_who_leaves_out_https_is_asked_whether_it_was_meant(address: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check_registry(address)
    assert meant in caught.value.hint


@pytest.mark.parametrize("token", ["two words", "new\nline", "tökén", "x" * 513])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(registry="https://a.example", token=token)
    assert token not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError):
        config.save_credentials("https://a.example", "token")
    with pytest.raises(ConfigError):
        config.load()


def test_the_reference_lists_every_setting() -> None:
    """docs/reference/settings.md: the same settings, variables, keys and defaults as the code, with a meaning each."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|(.*)\|$", REFERENCE.read_text(), re.M)
    told = [[name, *(cell.strip().strip("`") for cell in cells)] for name, *cells in rows]
    assert [row[:-1] for row in told] == [list(setting) for setting in config.SETTINGS]
    assert all(row[-1] for row in told)
    assert all(f"- `{name}`" in REFERENCE.read_text() for name in config.SITE_FIELDS)


def test_site_defaults_are_fields_of_the_card() -> None:
    assert set(config.SITE_FIELDS) <= set(FIELDS)
