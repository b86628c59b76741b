"""What to draw, in weighted parts: `healthy chest, <normal>:0.3` beside `chest with <effusion>:0.7`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

from embhub.errors import UsageError

MOST_WEIGHT = 100.0
_PLACEHOLDER = re.compile(r"<[^<>\s]+>")
_LIKE_A_NUMBER = re.compile(r"[+-]?(?:\.?\d|(?:nan|inf|infinity)\s*$)", re.I)


@dataclass(frozen=True)
class Part:
    """A prompt and its weight: how far the drawing is moved from no prompt towards it; below 0 away from it.

    Raises:
        UsageError: an empty prompt, or a weight that is no number or beyond MOST_WEIGHT.
    """

    prompt: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            raise UsageError(f"{ascii(self.prompt)[:40]} is no prompt", "give pairs of prompt and weight")
        if not self.prompt.strip():
            raise UsageError(
                "a prompt is empty", "write what to generate, and its weight after a colon: lung, <cspca>:0.7"
            )
        if not isinstance(self.weight, Real):
            raise UsageError(f"{ascii(self.weight)[:40]} is no weight", "give a number, such as 0.5")
        if not (math.isfinite(self.weight) and abs(self.weight) <= MOST_WEIGHT):
            raise UsageError(
                f"a weight of {self.weight:g}", f"choose a number from {-MOST_WEIGHT:g} to {MOST_WEIGHT:g}, such as 0.5"
            )


def check_words(prompts: Iterable[str], tokens: Collection[str], *, knows: Callable[[str], bool] | None = None) -> None:
    """Whether prompts and placeholder tokens fit each other; `{}` stands for all tokens.

    Args:
        prompts: Texts to generate from.
        tokens: Placeholder tokens of the embeddings at hand.
        knows: Whether the base has a token of its own for a `<word>`. By default it has none.

    Raises:
        UsageError: a token that no prompt mentions, or a `<word>` that nothing supplies: it would be plain text.
    """
    texts = list(prompts)
    if missing := [token for token in tokens if not any("{}" in text or token in text for text in texts)]:
        raise UsageError(f"the prompt does not mention {missing[0]}", f'write it where it belongs: "… {missing[0]}"')
    for word in dict.fromkeys(word for text in texts for word in _PLACEHOLDER.findall(text)):
        if not any(word in token for token in tokens) and not (knows and knows(word)):
            raise UsageError(
                f"no embedding supplies {word}", "name the one that does, as a file or NS/NAME, with --embedding"
            )


def parse_part(text: str) -> Part:
    """`PROMPT` or `PROMPT:WEIGHT`. Colons within the prompt are its own: only the last can begin a weight.

    What follows it is a weight where it begins like a number without a space before it; `T2: 1.5 tesla` is all prompt.

    Raises:
        UsageError: what looks like a weight is none, it is not finite, or there is no prompt.
    """
    prompt, colon, weight = text.rpartition(":")
    if not colon or not _LIKE_A_NUMBER.match(weight):
        return Part(text.strip())
    try:
        value = float(weight)
    except ValueError as error:
        raise UsageError(
            f"{weight[:40]!r} after the last colon is no weight",
            "write a number such as 0.3; where it belongs to the prompt, add a weight after it: …:1",
        ) from error
    return Part(prompt.strip(), value)


def settle_parts(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts that do anything: equal prompts become one, those of weight 0 are left out; the order stays.

    Raises:
        UsageError: nothing is left.
    """
    prompts = dict.fromkeys(part.prompt for part in parts)
    summed = {text: math.fsum(part.weight for part in parts if part.prompt == text) for text in prompts}
    settled = tuple(Part(text, weight) for text, weight in summed.items() if weight)
    if not settled:
        raise UsageError("there is nothing to generate", "give at least one prompt a weight other than 0")
    return settled
