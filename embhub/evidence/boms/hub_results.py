"""Figures of a card in the Hub's format for results of a model, `.eval_results/*.yaml`. Pure.

An entry there belongs to a benchmark: a data set of the Hub, named `owner/name`. Figures on any other data are left
out; the model-index of README.md has them all. huggingface.co/docs/hub/eval-results describes the format.
"""

from __future__ import annotations

import re
from typing import Any

from embhub.cards.card_schema import Evaluation
from embhub.evidence.boms.facts import Facts

FOLDER = ".eval_results"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_DATASET = re.compile(rf"{_NAME}/{_NAME}")


def build(facts: Facts) -> list[dict[str, Any]]:
    """Entries for the card's figures on data sets of the Hub, in the card's order; a public page is their source."""
    source = {"source": {"url": facts.page, "name": "the publisher's card"}} if _is_public(facts.page) else {}
    return [
        {
            "dataset": {"id": item.dataset, "task_id": _slug(item.task)},
            "value": item.value,
            "date": facts.verified.created,
            **source,
            "notes": _notes(item),
        }
        for item in facts.card.evaluation
        if _DATASET.fullmatch(item.dataset)
    ]


def _is_public(page: str) -> bool:
    return page.startswith("https://")


def _notes(item: Evaluation) -> str:
    spread = f", interval {item.interval[0]:g} to {item.interval[1]:g}" if item.interval else ""
    return f"{item.metric}{spread}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "default"
