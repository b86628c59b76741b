"""An access token goes to the registry that it was given for, and over the network only encrypted: seen by a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.client.account import accounts
from embhub.client.trusted import roots
from embhub.client.wire.hub import Hub
from embhub.errors import ConfigError
from embhub.site import config
from tests.support import hostile

TOKEN = "hf_emb_of_hospital_a"
OUR = "https://hub.hospital-a.example"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Registry]:
    """A server that writes down what it is asked; also the proxy for every other host."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "EMBHUB_INSECURE", "EMBHUB_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EMBHUB_TOKEN", TOKEN)
    with hostile.serve() as registry:
        registry.export = b"{}"
        yield registry


def _sent(server: hostile.Registry) -> list[str]:
    return [headers.get("authorization", headers.get("Authorization", "")) for _, _, headers, _ in server.requests]


@pytest.mark.parametrize("ours", [OUR, "", "http://127.0.0.1:9", "http://localhost:9"])
def test_the_token_of_one_registry_is_not_sent_to_another(
    server: hostile.Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ours: str
) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", ours)
    main(["search", "x", "--registry", server.url])
    assert server.requests and not any(_sent(server))
    assert "EMBHUB_TOKEN is not sent" in caplog.text


def test_the_token_is_sent_to_its_own_registry(server: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", server.url + "/")
    main(["search", "x", "--registry", server.url])
    main(["search", "x"])
    assert set(_sent(server)) == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("ours", "asked", "same"),
    [
        (OUR, OUR + ":443", True),
        (OUR, OUR.upper(), True),
        (OUR, OUR.replace("https", "http"), False),
        (OUR, OUR + ":8443", False),
        (OUR, OUR + ".evil.example", False),
        (OUR, "https://hospital-a.example", False),
    ],
)
def test_scheme_host_and_port_decide(
    server: hostile.Registry, monkeypatch: pytest.MonkeyPatch, ours: str, asked: str, same: bool
) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", ours)
    assert config.load(registry=asked).token == (TOKEN if same else None)


def test_a_stored_token_serves_where_the_variable_does_not(
    server: hostile.Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBHUB_REGISTRY", OUR)
    config.save_credentials(server.url, "hf_emb_stored")
    accounts.connect(server.url).trust_export()
    assert _sent(server) == ["Bearer hf_emb_stored"]


VERBS = [
    ["search", "x", "--registry", "http://hub.example.net"],
    ["show", "radboud/x", "--registry", "http://hub.example.net"],
    ["pull", "radboud/x", "--registry", "http://10.1.2.3:8080"],
    ["verify", "radboud/x", "--registry", "http://hub.example.net"],
    ["login", "--registry", "http://hub.example.net", "--access-token", TOKEN],
    ["trust", "add", "http://hub.example.net", "--fingerprint", "SHA256:uNiVztksCsDhcc0u9e8BrqLRVbfNjXkbM5bGHe1Qk2c"],
]


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
def test_plain_http_to_another_machine_is_refused_before_anybody_is_asked(
    server: hostile.Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://hub.example.net")
    assert main(words) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "not encrypted" in said and "--insecure" in said and "Traceback" not in said
    assert not server.requests
    main([*words, "--insecure"])
    assert "not encrypted" not in capsys.readouterr().err
    assert server.requests or words[0] in ("show", "pull", "verify")  # these ask nobody before a registry is pinned
    asked = len(server.requests)
    assert main(words) == ConfigError.exit_code  # the option counted for one call
    assert len(server.requests) == asked


def test_a_setting_names_the_registry_that_may_be_asked_unencrypted(
    server: hostile.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("EMBHUB_INSECURE", "http://hub.lan, http://lab.lan:8642")
    for address in ("http://hub.lan", "http://hub.lan:80/", "http://lab.lan:8642"):
        Hub(address).trust_export()
    for address in ("http://lab.lan", "http://hub.lan.evil.example"):
        with pytest.raises(ConfigError, match="not encrypted"):
            Hub(address)
    monkeypatch.delenv("EMBHUB_INSECURE")
    file = tmp_path / "home/config/config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("insecure: http://hub.lan\n")
    Hub("http://hub.lan").trust_export()
    with pytest.raises(ConfigError, match="not encrypted"):
        roots.add_root("http://lab.lan", fingerprint="SHA256:" + "A" * 43)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:1", "http://127.8.9.10", "http://[::1]:1", "http://localhost:1", "https://hub.example.org"],
)
def test_this_machine_and_https_need_no_consent(server: hostile.Registry, address: str) -> None:
    Hub(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1.example.org", "http://localhost.example.org", "http://0.0.0.0"])
def test_names_that_look_like_this_machine_are_not(server: hostile.Registry, address: str) -> None:
    with pytest.raises(ConfigError, match="not encrypted"):
        Hub(address)


def test_consent_that_names_no_registry_is_refused(server: hostile.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_INSECURE", "1")
    with pytest.raises(ConfigError, match="EMBHUB_INSECURE"):
        Hub("http://hub.lan")
