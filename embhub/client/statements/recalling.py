"""A release from this disk with what this site heard of it: no network is asked."""

from __future__ import annotations

from dataclasses import replace

from embhub.client.statements import memory, reports
from embhub.release.verification import Verified


def recall(verified: Verified) -> Verified:
    """A release from this disk with what this site heard of it when a registry was asked last."""
    registry, repository, version = verified.signer.registry, verified.repository, verified.version
    yanked = reports.yank(registry, repository, version)
    told = verified.told(yanked=yanked, others=(), remembered=reports.audits(verified.digest), asked=False)
    first = [yanked.as_finding(f"{registry}, when it was asked last,")] if yanked else []
    told = replace(told, findings=(*first, *told.findings))
    return memory.say_signer(memory.say_claim(told))
