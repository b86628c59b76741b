"""A seed counts with all its bits: two that torch takes for one give different draws, and a small one torch's own."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from embhub.diffusion.training.seeding import BITS, draw_seed, make_generator


def draws(seed: int) -> torch.Tensor:
    return torch.randn(64, generator=make_generator(seed))


@given(st.integers(0, 2**31 - 2), st.integers(1, 2**31 - 1))
def test_no_bit_of_a_seed_is_lost(high: int, other: int) -> None:
    seed, twin = high * 2**32 + 7, other * 2**32 + 7
    assert torch.equal(draws(seed), draws(seed))
    assert seed == twin or not torch.equal(draws(seed), draws(twin))


@given(st.integers(0, 2**32 - 1))
def test_a_small_seed_gives_what_it_always_gave(seed: int) -> None:
    assert torch.equal(draws(seed), torch.randn(64, generator=torch.Generator().manual_seed(seed)))


def test_draws_from_a_large_seed_are_normal_and_go_on_from_a_state() -> None:
    generator = make_generator(2**62 - 1)
    drawn = torch.randn(200_000, generator=generator)
    assert abs(float(drawn.mean())) < 0.012 and abs(float(drawn.std()) - 1) < 0.01
    again = torch.Generator()
    again.set_state(generator.get_state())
    assert torch.equal(torch.randn(9, generator=generator), torch.randn(9, generator=again))


def test_seeds_are_drawn_from_all_bits() -> None:
    seeds = [draw_seed() for _ in range(200)]
    assert BITS >= 62 and all(0 <= seed < 2**63 for seed in seeds) and len(set(seeds)) == 200
    assert all(any(seed >> bit & 1 for seed in seeds) for bit in range(BITS))
