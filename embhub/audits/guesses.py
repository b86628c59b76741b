"""One guess of each coin by each attack on the shadows, and one permutation test of all of them together.

Orders of labels do not say which place in one is which in another, so they do not tell how alike the attacks are. Ranks
of every coin in every attack would tell it, and would be a fingerprint of each patient. One guess tells it too: in or
out, by a comparison of the patient with herself under the other shadows. Pure functions, without numpy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from embhub.audits.attack_figures import Name, Strict

ROUNDS = 1_999
_SEED = 0  # of the tosses, known to every reader
_BITS = str.maketrans("mn", "10")
Letters = Annotated[str, Field(pattern=r"^[mn]+$", max_length=300_000)]


class Guesses(Strict):
    """The coins of the audit, `m` in and `n` out, and what each attack on the shadows guesses of each, in one order.

    A guess is `m` where the score is above the median of the patient's own scores. The order is shuffled.
    """

    coins: Letters
    by: dict[Name, Letters]


def write_guesses(coins: Iterable[bool], by: Mapping[str, Iterable[bool]]) -> Guesses:
    """Coins and guesses in one order: true is in."""
    return Guesses(coins=_spell(coins), by={name: _spell(guessed) for name, guessed in by.items()})


def below_chance(guesses: Guesses) -> float:
    """Joint p-value of "no attack guesses worse than chance": its sign turned, such an attack would be a good one.

    The most wrong guesses of any attack, beside those in as many tosses of all coins together (max-T; Westfall and
    Young 1993, Resampling-Based Multiple Testing). No guess depends on a coin that is guessed, so without a leak every
    toss is equally likely, and the test is exact. Anybody computes the same number.
    """
    guessed = [int(letters.translate(_BITS), 2) for letters in guesses.by.values()]

    def most_wrong(coins: int) -> int:
        return max((coins ^ each).bit_count() for each in guessed)

    seen = most_wrong(int(guesses.coins.translate(_BITS), 2))
    generator = random.Random(_SEED)  # noqa: S311  # tosses that every reader repeats
    as_wrong = sum(most_wrong(generator.getrandbits(len(guesses.coins))) >= seen for _ in range(ROUNDS))
    return (1 + as_wrong) / (ROUNDS + 1)


def _spell(coins: Iterable[bool]) -> str:
    return "".join("m" if coin else "n" for coin in coins)
