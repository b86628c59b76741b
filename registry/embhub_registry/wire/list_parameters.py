"""What `GET /api/models` may be asked: a parameter is honoured or refused. An ignored one would look like an answer."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from embhub_registry.http_errors import malformed

# `config` changes nothing here: a list of embeddings has no configuration to add.
KNOWN = frozenset(
    [
        "author", "cardData", "config", "cursor", "direction", "expand", "expand[]", "filter", "full", "gated",
        "limit", "pipeline_tag", "search", "sort",
    ]
)  # fmt: skip
MAX_FILTERS = 20
LONGEST_SEARCH = 200


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
