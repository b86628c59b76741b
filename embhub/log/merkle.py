"""Merkle trees as of RFC 6962, section 2.1: hashes, and proofs of inclusion and of consistency, made and checked.

Proofs are checked as in RFC 9162, sections 2.1.3.2 and 2.1.4.2. A leaf and an inner node are hashed with different
prefixes, so neither can be taken for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from embhub.log.errors import ForkedLogError, NotIncludedError

HASH = 32
EMPTY = hashlib.sha256(b"").digest()
LONGEST_PROOF = 63  # hashes: a tree has less than 2^63 leaves
Node = Callable[[int, int], bytes]
"""`node(level, index)`: the hash over the leaves from `index * 2**level` on, `2**level` of them."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    peaks: list[tuple[int, bytes]] = []
    for hashed in leaves:
        level = 0
        while peaks and peaks[-1][0] == level:
            hashed, level = node_hash(peaks.pop()[1], hashed), level + 1
        peaks.append((level, hashed))
    return fold([hashed for _, hashed in peaks])


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over the hashes of whole subtrees, the largest (leftmost) first."""
    if not peaks:
        return EMPTY
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def root_at(size: int, node: Node) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return _range(0, size, node) if size else EMPTY


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The audit path of the leaf at `index` in the tree of `size` leaves, from the leaf's sibling up.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range(middle, high, node))
            high = middle
        else:
            path.append(_range(low, middle, node))
            low = middle
    return path[::-1]


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """What leads from the tree of `first` leaves to the one of `second`; empty from the empty tree, and to itself.

    Raises:
        ValueError: `first` is larger.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {second} leaves holds none of {first}")
    if first in (0, second):
        return []
    low, high, path, whole = 0, second, [], True
    while high != first:
        middle = low + _split(high - low)
        if first <= middle:
            path.append(_range(middle, high, node))
            high = middle
        else:
            path.append(_range(low, middle, node))
            low, whole = middle, False
    if not whole:
        path.append(_range(low, high, node))
    return path[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the entry with this leaf hash is at `index` of the tree.

    Raises:
        NotIncludedError: the proof does not show it, or there is no such index.
    """
    if not 0 <= index < size:
        raise _absent(f"index {index} is past its {size} entries")
    place, last, reached = index, size - 1, leaf
    for hashed in proof:
        if last == 0:
            raise _absent("its proof is too long")
        if place & 1 or place == last:
            reached = node_hash(hashed, reached)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            reached = node_hash(reached, hashed)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise _absent("its proof is too short")
    if reached != root:
        raise _absent("its proof leads to another root")


def check_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `second` leaves begins with the one of `first`.

    Raises:
        ForkedLogError: it does not, or the proof does not show it.
    """
    if first > second:
        raise _forked(f"it had {first} entries, and now shows {second}: some were removed")
    if first == second:
        if first_root != second_root:
            raise _forked(f"it shows two different trees of {first} entries")
        if proof:
            raise _forked("a proof between equal trees is not empty")
        return
    if first == 0:
        if proof or first_root != EMPTY:
            raise _forked("a proof from the empty tree is not empty")
        return
    if not proof and first & (first - 1):
        raise _forked(f"nothing shows that its {second} entries begin with the {first} seen before")
    old, new, is_whole = _follow(first, second, [first_root, *proof] if first & (first - 1) == 0 else list(proof))
    if (old, new, is_whole) != (first_root, second_root, True):
        raise _forked(f"its {second} entries do not begin with the {first} seen before: it was rewritten")


def root_shown(first: int, second: int, second_root: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The root over the first `first` leaves of the tree of `second`, as a proof of consistency shows it.

    Its hashes are those of the tree, because they lead to `second_root`. A root that differs from it is of another
    history.

    Returns:
        32 bytes; None where the proof leads to another root, or leaves the wanted one out, as it does where `first` is
        a power of two.
    """
    if not 0 < first < second or first & (first - 1) == 0 or not proof:
        return None
    old, new, is_whole = _follow(first, second, list(proof))
    return old if is_whole and new == second_root else None


def _follow(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes, bool]:
    """The two roots that a path of hashes leads to, and whether it has the length that it must have."""
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for hashed in path[1:]:
        if last == 0:
            return old, new, False
        if place & 1 or place == last:
            old, new = node_hash(hashed, old), node_hash(hashed, new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, hashed)
        place, last = place >> 1, last >> 1
    return old, new, last == 0


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _range(low: int, high: int, node: Node) -> bytes:
    size = high - low
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(size)
    return node_hash(_range(low, middle, node), _range(middle, high, node))


def _absent(reason: str) -> NotIncludedError:
    return NotIncludedError(
        f"this is not in the log: {reason}", "fetch it again; if it stays so, inform the registry's operator"
    )


def _forked(reason: str) -> ForkedLogError:
    return ForkedLogError(
        f"the log is not append-only: {reason}",
        "keep what `embhub log show` prints, ask another site what it sees, and inform the registry's operator",
    )
