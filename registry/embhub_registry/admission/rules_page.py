"""docs/reference/admission-rules.md, written from the rules themselves: `python -m
embhub_registry.admission.rules_page`."""

from __future__ import annotations

import sys

from embhub_registry.admission import rules as admission

HEAD = """# Rules of admission

Written by `python -m embhub_registry.admission.rules_page`; a test keeps it equal to the code. What they are for,
and what they cannot show, is in [Admission](../explanation/admission.md). They apply in this order at every commit,
over all that the repository would hold after it; the first that refuses ends it with a 422 that names the rule and
the remedy, and nothing is stored.

| rule | applies | demands | remedy |
|---|---|---|---|
"""
CHECKS = """
A refusal by `attestation` carries the name of the check that failed instead: `unsigned`, `bad-signature`,
`digest-mismatch`, `card-mismatch`, `claim-mismatch`, `bundle-malformed`, `envelope-malformed`, `statement-malformed`,
`predicate-type`, or one of these, which have a remedy of their own:

| check | remedy |
|---|---|
"""


def render() -> str:
    """The page."""
    rules = "".join(f"| `{name}` | {when} | {says} | {remedy} |\n" for name, when, says, remedy in admission.table())
    checks = "".join(f"| `{name}` | {remedy} |\n" for name, remedy in admission.remedies())
    return HEAD + rules + CHECKS + checks


if __name__ == "__main__":
    sys.stdout.write(render())
