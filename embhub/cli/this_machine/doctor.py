"""`embhub doctor`: what works on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from embhub.cli import options
from embhub.cli.output import print_findings, print_json, remark

if TYPE_CHECKING:
    from embhub.client.member.doctor import Check


@click.command("doctor", short_help="Check settings, network, keys, bases and GPU.")
@click.option("--offline", is_flag=True, help="Ask no registry.")
@options.registry
@options.as_json
def command(registry: str | None, offline: bool, as_json: bool) -> int:
    """Check settings, signing keys, trusted registries, proxy, network, access token, versions, bases, disk and GPU.

    Changes nothing, and prints no secret. Whatever needs no network is checked without one. The exit code is 7 if a
    check failed, else 0. If torch is installed it is loaded to find the GPU, which takes some seconds.

    \b
    Example:
      embhub doctor
      embhub doctor --offline --json
    """
    from embhub.client.member.doctor import examine

    checks = [*examine(registry=registry, offline=offline), *_devices()]
    failed = any(check.outcome == "failed" for check in checks)
    print_json({"ok": not failed, "checks": [asdict(check) for check in checks]}) if as_json else _print(checks)
    return 7 if failed else 0


def _devices() -> list[Check]:
    from embhub.client.member.doctor import Check, has_torch

    if not has_torch():
        return [Check("gpu", "note", "not checked: torch is not installed")]
    from embhub.diffusion.bases.devices import describe_devices

    return [Check("gpu", "ok", line) for line in describe_devices()]


def _print(checks: Sequence[Check]) -> None:
    print_findings(checks)
    for check in checks:
        if check.hint and check.outcome != "ok":
            remark(f" hint: {check.check}: {check.hint}")
