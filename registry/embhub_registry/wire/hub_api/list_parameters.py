"""What `GET /api/models` may be asked: a parameter is honoured or refused. An ignored one would look like an answer."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from embhub.formats.search_words import facet_value
from embhub_registry.database.releases import search
from embhub_registry.http_errors import malformed

# `config` changes nothing here: a list of embeddings has no configuration to add.
KNOWN = frozenset(
    [
        "author", "cardData", "config", "cursor", "direction", "expand", "expand[]", "filter", "full", "gated",
        "limit", "pipeline_tag", "search", "sort", *search.FACETS,
    ]
)  # fmt: skip
MAX_FILTERS = 20
LONGEST_SEARCH = 200
MAX_FACET_VALUES = 6


def check(asked: QueryParams) -> None:
    """Refuse a parameter that lists do not know.

    Raises:
        RequestDeniedError: 400 with its name.
    """
    if unknown := sorted(set(asked) - KNOWN):
        raise malformed(f"lists cannot be filtered by {unknown[0][:60]!a}", f"one of {', '.join(sorted(KNOWN))}")


def search_text(asked: QueryParams) -> str:
    """The words of every `search`; 0.36 of the Hub's client sends `model_name` as one too.

    Raises:
        RequestDeniedError: 400 where they are too long.
    """
    text = " ".join(asked.getlist("search"))
    if len(text) > LONGEST_SEARCH:
        raise malformed(f"`search` is longer than {LONGEST_SEARCH} characters", "search for fewer words")
    return text


def tags(asked: QueryParams) -> list[str]:
    """The tags of `filter` and `pipeline_tag`, repeated or with commas between them.

    Raises:
        RequestDeniedError: 400 where there are too many.
    """
    values = (*asked.getlist("filter"), *asked.getlist("pipeline_tag"))
    found = [tag for value in values for tag in value.split(",") if tag]
    if len(found) > MAX_FILTERS:
        raise malformed(f"`filter` has more than {MAX_FILTERS} values", "filter by fewer")
    return found


def facets(asked: QueryParams) -> dict[str, list[str]]:
    """Ours: the facets of the list's page, each value in the spelling that is stored.

    Raises:
        RequestDeniedError: 400 where a facet has too many values.
    """
    given = {facet: asked.getlist(facet) for facet in search.FACETS}
    for facet, values in given.items():
        if len(values) > MAX_FACET_VALUES:
            raise malformed(f"`{facet}` has more than {MAX_FACET_VALUES} values", "filter by fewer")
    spelt = {facet: list(map(facet_value, given[facet])) for facet in ("anatomy", "finding")}
    return {facet: [value[:200] for value in values] for facet, values in {**given, **spelt}.items() if values}


def yes_or_no(asked: QueryParams, name: str) -> bool | None:
    """A yes-or-no parameter as clients send it (`true`, `True`, `1`); None without it.

    Raises:
        RequestDeniedError: 400 where it is neither.
    """
    value = asked.get(name)
    if value is None:
        return None
    known = {"true": True, "1": True, "false": False, "0": False}
    if value.lower() not in known:
        raise malformed(f"`{name}` must be true or false, not {value[:60]!a}")
    return known[value.lower()]
