"""The card's front door: read one, render it as README.md and back. `card_draft` begins one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from embhub.cards import confirmation
from embhub.cards.card_schema import FIELDS
from embhub.cards.card_schema import Card as Card
from embhub.cards.readme import read_front_matter
from embhub.cards.readme import to_readme as to_readme
from embhub.errors import ArtifactError
from embhub.formats import safe_yaml

_MOST_PROBLEMS = 60  # a card has half as many fields


class BadCardError(ArtifactError):
    """The card lacks fields or has wrong ones; `problems` lists every one of them, the message the first ones."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} field{'s' if len(problems) > 1 else ''}"
        lines = [f"  - {problem}" for problem in problems[:_MOST_PROBLEMS]]
        if len(problems) > _MOST_PROBLEMS:
            lines.append(f"  - and {len(problems) - _MOST_PROBLEMS} more")
        super().__init__(
            f"the card needs {count} corrected:\n" + "\n".join(lines),
            "answer them in the card's .yaml; answers common to all releases can go under `site:` in config.yaml",
        )


def parse(values: Mapping[str, Any]) -> Card:
    """Validate plain data as a card.

    Raises:
        BadCardError: every missing, unknown and malformed field at once.
    """
    said = {name: value for name, value in values.items() if value is not None}
    try:
        text = json.dumps(said, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadCardError([f"a value is not plain data: {error}"]) from error
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        raise BadCardError([_describe(problem) for problem in error.errors(include_url=False)]) from error


def parse_yaml(data: bytes) -> Card:
    """Read a card as a person writes it (`<stem>.card.yaml`); it must have no answer left to confirm.

    Raises:
        ArtifactError: not YAML, or as `parse`.
    """
    try:
        values = safe_yaml.load(data)
    except safe_yaml.YamlError as error:
        raise BadCardError([f"the file is not readable YAML: {error}"]) from error
    if not isinstance(values, dict):
        raise BadCardError(["the file is not a list of `field: value` lines"])
    still_open = confirmation.find_open(values)
    try:
        found = parse({name: value for name, value in values.items() if name != confirmation.KEY})
    except BadCardError as error:
        raise BadCardError([*error.problems, *still_open]) from error
    if still_open:
        raise BadCardError(still_open)
    return found


def from_readme(data: bytes) -> Card:
    """Read the card out of a release's README.md; the text below the front matter is for people and not read.

    Raises:
        ArtifactError: no front matter, no `embhub:` block, or as `parse`.
    """
    return parse(read_front_matter(data))


def _describe(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "constrained-")))
    field = str(problem["loc"][0]) if problem["loc"] else ""
    meaning = FIELDS.get(field, "")
    if problem["type"] == "missing":
        return f"{place} is missing: {meaning}"
    if problem["type"] == "extra_forbidden":
        return f"{ascii(place)[1:-1][:80]} is not a field of the card"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {reason} ({meaning})" if place else reason
