"""`/bases`: on which bases embhub was run, by whom, on which devices, and which reports agree."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import Field

from embhub.release.checks import base_report
from embhub.release.checks.base_report import Check, Reported
from embhub.trust import kinds
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection
from embhub_registry.pages.lists.list_facts import Facts
from embhub_registry.repositories import base_reports

PATH = "/bases"


class ReportRow(Facts):
    """One site's report. `institution` is the signer's name in the keyring, `seconds` of a step and an image."""

    namespace: str
    institution: str
    date: str
    name: str
    revision: str | None
    device: str
    precision: str
    peak_bytes: int
    versions: str
    seconds_per_step: float | None
    seconds_per_image: float | None


class Agreeing(Facts):
    """Reports that agree: the same base, embhub's minor version `program`, and each check's outcome."""

    program: str
    passed: tuple[str, ...]
    others: tuple[str, ...]
    reports: tuple[ReportRow, ...]


class BaseRow(Facts):
    """One base by its fingerprint, called as in the largest group that agrees; `also` are names in other reports.

    `address` is the list of the reports for programs.
    """

    fingerprint: str
    name: str
    also: tuple[str, ...]
    family: str
    pipeline: str
    address: str
    agreeing: tuple[Agreeing, ...]


class BasesPage(Facts):
    """`/bases`: the bases of the newest reports, the one with the newest first."""

    schema_: Literal["embhub.page.bases/1"] = Field(default="embhub.page.bases/1", alias="schema")
    registry: str
    checks: int
    bases: tuple[BaseRow, ...]


def collect(db: Connection, trust: Trust, *, registry: str) -> BasesPage:
    """What the page says."""
    by_base: dict[str, list[Reported]] = {}
    for one in base_reports.shown(db, trust):
        by_base.setdefault(one.fingerprint, []).append(one)
    rows = tuple(_base(fingerprint, found) for fingerprint, found in by_base.items())
    return BasesPage(registry=registry, checks=len(base_report.CHECKS), bases=rows)


def _base(fingerprint: str, found: list[Reported]) -> BaseRow:
    groups = base_report.agreeing(found)
    said = Counter((one.name, one.family, one.pipeline) for one in (each.report.base for each in groups[0]))
    (name, family, pipeline), _ = said.most_common(1)[0]
    return BaseRow(
        fingerprint=fingerprint, name=name, also=tuple(sorted({one.report.base.name for one in found} - {name})),
        family=family, pipeline=pipeline, address=f"/embhub/v1/{kinds.BASE_REPORT.listed.name}/{fingerprint}",
        agreeing=tuple(_agreeing(group) for group in groups),
    )  # fmt: skip


def _agreeing(group: list[Reported]) -> Agreeing:
    report = group[0].report
    others = [f"{check.name} ({check.outcome})" for check in report.checks if check.outcome != "passed"]
    return Agreeing(
        program=report.program.line, passed=report.passed, others=tuple(others),
        reports=tuple(_row(one) for one in group),
    )  # fmt: skip


def _row(one: Reported) -> ReportRow:
    program, machine = one.report.program, one.report.machine
    checks: dict[str, Check] = {check.name: check for check in one.report.checks}
    return ReportRow(
        namespace=one.namespace, institution=one.institution, date=one.created, name=one.report.base.name,
        revision=one.report.base.revision,
        device=machine.device, precision=machine.precision, peak_bytes=machine.peak_bytes,
        versions=f"embhub {program.embhub}, torch {program.torch}, diffusers {program.diffusers}",
        seconds_per_step=checks["trains"].figures.get("seconds_per_step"),
        seconds_per_image=checks["generates"].figures.get("seconds_per_image"),
    )  # fmt: skip
