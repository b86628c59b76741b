"""Random numbers of a training from its seed: all of a seed counts, not only what torch takes of it.

A plain training's seed is a secret: whoever guesses it, with base, settings and a set of images, trains again and
compares the bytes.
"""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
import torch

BITS = 62
"""Of a seed that is drawn: too many to try, and it still fits where a signed number of 64 bits is expected."""
_TAKEN = 32
_WORDS = 624
_FIRST = 24
"""Where in the state of torch's generator on the processor its words stand, each in eight bytes."""


def draw_seed() -> int:
    """A new seed, from the operating system's entropy."""
    return secrets.randbits(BITS)


def make_generator(seed: int) -> torch.Generator:
    """A generator on the processor that starts from `seed`, 0 to 2^63 - 1.

    torch takes the lowest 32 bits of a seed and drops the others. A smaller seed gives torch's own generator; for a
    larger one the whole of Mersenne Twister's state is filled by SHAKE-256 from all bits.
    """
    generator = torch.Generator().manual_seed(seed)
    if seed < 2**_TAKEN:
        return generator
    state = generator.get_state().numpy().copy()
    expanded = hashlib.shake_256(b"embhub training seed" + seed.to_bytes(8)).digest(4 * _WORDS)
    state[_FIRST : _FIRST + 8 * _WORDS] = np.frombuffer(expanded, dtype="<u4").astype(np.uint64).view(np.uint8)
    generator.set_state(torch.from_numpy(state))
    return generator
