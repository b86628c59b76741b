"""What is said of a report of version 1, and how one is known; `embhub.audits.version1` reads them."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = "embhub.audit/1"
WARNING: Final = (
    "the audit report is of version 1: it holds every patient's score, so that whoever holds a patient's image can "
    "find out whether she was trained on or kept back. Its figures were not computed again"
)
ADVICE: Final = "its publisher should yank it, audit again with this version of embhub and publish a new version"
