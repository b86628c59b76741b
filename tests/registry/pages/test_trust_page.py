"""`/trust` and `embhub-registry show`: one fingerprint, and the printed commands compute it without embhub."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import pytest

from tests.registry.conftest import House
from tests.support import tools


def text_of(house: House, path: str) -> str:
    answer = house.registry.get(path, headers={"Accept": "text/html"})
    assert answer.status == 200
    return html.unescape(re.sub(r"<[^>]+>", "", answer.body.decode()))


def test_show_and_the_page_say_the_same(house: House) -> None:
    shown = house.registry.ask("show")
    facts = house.registry.get("/trust?format=json").json()
    assert shown["root_fingerprint"] == facts["root_fingerprint"] == house.registry.root_fingerprint
    assert shown["name"] == facts["registry"] and shown["url"] == facts["url"]
    assert shown["keyring_version"] == facts["keyring"]
    assert shown["counts"]["members"] == len(facts["members"]) >= 2
    text, lines = text_of(house, "/trust"), house.registry.run("show").stdout
    for words in (house.registry.root_fingerprint, facts["url"], f"version {facts['keyring']}"):
        assert words in text and words in lines
    assert facts["add"] in text
    assert house.registry.root_fingerprint not in facts["add"], "it is typed from what the operator said, not copied"
    for path in ("/", "/radboud"):
        assert 'href="/trust"' in house.registry.get(path, headers={"Accept": "text/html"}).body.decode()


@pytest.mark.parametrize("name", ["with_ssh_keygen", "with_openssl"])
def test_the_printed_command_computes_the_fingerprint(house: House, tmp_path: Path, name: str) -> None:
    facts = house.registry.get("/trust?format=json").json()
    fetch, command = facts[name].split("\n", 1)
    assert fetch == f"curl --fail {house.registry.url}/trust/root.pem > root.pem"
    tools.require("openssl" if "openssl" in command else "ssh-keygen")
    (tmp_path / "root.pem").write_bytes(house.registry.get("/trust/root.pem").body)
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
        assert house.registry.root_fingerprint.removeprefix("SHA256:") in done.stdout, (shell, done.stderr)


def test_what_browsers_and_crawlers_ask_for_unbidden(house: House) -> None:
    icon, robots = house.registry.get("/favicon.ico"), house.registry.get("/robots.txt")
    assert icon.status == robots.status == 200
    assert icon.body.startswith(b"<svg") and "Disallow: /api/" in robots.body.decode()
    page = house.registry.get("/", headers={"Accept": "text/html"}).body.decode()
    assert '<meta name="description"' in page and '<meta property="og:title"' in page
