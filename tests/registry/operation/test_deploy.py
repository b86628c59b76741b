"""What an operator copies: unit, proxies, container file, alerts, as far as they can be tried here."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import click
import pytest

from embhub_registry.cli import root
from tests.support import tools
from tests.support.nginx import DEPLOY

UNIT = (DEPLOY / "systemd/embhub-registry.service").read_text()


def unit() -> configparser.SectionProxy:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's own way to keep capitals
    parsed.read_string(UNIT)
    return parsed["Service"]


def options_of(words: list[str]) -> None:
    """Fail where a command line names an option that does not exist."""
    command = root.get_command(click.Context(root), "serve")
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known | {"--dir"}


def test_the_unit_runs_the_program_as_nobody_special() -> None:
    service = unit()
    words = service["ExecStart"].split()
    assert words[0] == "/opt/embhub/bin/embhub-registry" and "serve" in words
    options_of(words)
    grace = sum(float(words[words.index(option) + 1]) for option in ("--drain-seconds", "--grace-seconds"))
    assert float(service["TimeoutStopSec"]) > grace + 10, "systemd waits longer than the registry does"
    assert service["User"] not in ("", "root") and service["StateDirectory"] in words[words.index("--dir") + 1]
    assert service["MemoryMax"] == "1G" and service["MemorySwapMax"] == "0"
    for name, value in (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("CapabilityBoundingSet", "")):
        assert service[name] == value


@tools.needs("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "embhub-registry.service"
    file.write_text(UNIT.replace("/opt/embhub/bin/embhub-registry", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "embhub-registry.service:" not in done.stderr, done.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-300:]


@tools.needs("systemd-analyze")
def test_systemd_takes_the_backup_and_its_timer(tmp_path: Path) -> None:
    units = [tmp_path / f"embhub-registry-backup.{kind}" for kind in ("service", "timer")]
    for file in units:
        text = (DEPLOY / "systemd" / file.name).read_text()
        file.write_text(text.replace("/opt/embhub/bin/embhub-registry", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "embhub-registry-backup." not in done.stderr, done.stderr
    (when,) = re.findall(r"(?m)^OnCalendar=(.+)$", units[1].read_text())
    subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, check=True)


@tools.needs("nft")
def test_the_firewall_takes_its_rules() -> None:
    program = tools.which("nft")
    done = subprocess.run(
        [str(program), "-c", "-f", DEPLOY / "nftables.conf"], capture_output=True, text=True, check=False
    )
    if "permitted" in done.stderr:
        pytest.skip("only an administrator of the network may check rules")
    assert done.returncode == 0, done.stderr


def test_the_container_is_not_root_and_says_how_it_is() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert text.count("podman build") == text.count("podman build --format docker") == 2, "others leave HEALTHCHECK out"
    lines = re.sub(r"\\\n", " ", text).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    final = steps[max(n for n, step in enumerate(steps) if step[0] == "FROM") :]
    said = {step[0]: step[1] for step in final}
    assert said["USER"].isdigit() and said["USER"] != "0" and "readyz" in said["HEALTHCHECK"]
    assert said["STOPSIGNAL"] == "SIGTERM" and "data" in said["VOLUME"]
    options_of(re.findall(r'"([^"]+)"', said["CMD"]))
    for step in steps:
        if step[0] == "COPY" and not step[1].startswith("--from"):
            assert all((DEPLOY.parents[1] / source).exists() for source in step[1].split()[:-1])
        assert step[0] != "FROM" or step[1].startswith("${BASE}")
    (base,) = [line.partition("=")[2] for line in lines if line.startswith("ARG BASE")]
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+", base)


@tools.needs("caddy")
def test_caddy_takes_its_file() -> None:
    words = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
