"""Trees and proofs against RFC 6962's definitions, its published vectors, and another implementation (pymerkle)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from embhub.log import merkle
from embhub.log.errors import ForkedLogError, NotIncludedError
from tests.embhub.log import reference
from tests.support.quick import examples

# certificate-transparency's test vectors (merkletree/merkle_tree_test.cc; transparency-dev/merkle testonly)
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
FEW = settings(max_examples=examples(60), deadline=None)


def entries(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


class Tree:
    """Every whole subtree of a list of entries."""

    def __init__(self, held: list[bytes]) -> None:
        self.levels = [[merkle.leaf_hash(entry) for entry in held]]
        while len(self.levels[-1]) > 1:
            row = self.levels[-1]
            self.levels.append([merkle.node_hash(*row[i : i + 2]) for i in range(0, len(row) - 1, 2)])

    def node(self, level: int, index: int) -> bytes:
        return self.levels[level][index]


TREE = Tree(entries(300))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_the_published_ones(size: int) -> None:
    assert merkle.root_of(map(merkle.leaf_hash, LEAVES[:size])).hex() == ROOTS[size]
    assert merkle.root_at(size, Tree(LEAVES[:size]).node).hex() == ROOTS[size]


@given(st.integers(1, 300), st.data())
@FEW
def test_inclusion_proofs_are_those_of_the_definition_and_hold(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, TREE.node)
    assert proof == reference.path(index, entries(size))
    merkle.check_inclusion(merkle.leaf_hash(entries(size)[index]), index, size, reference.mth(entries(size)), proof)


@given(st.integers(0, 300), st.integers(0, 300))
@FEW
def test_consistency_proofs_are_those_of_the_definition_and_hold(one: int, other: int) -> None:
    first, second = sorted((one, other))
    proof = merkle.consistency_proof(first, second, TREE.node)
    assert proof == (reference.proof(first, entries(second)) if first else [])
    before, after = reference.mth(entries(first)), reference.mth(entries(second))
    merkle.check_consistency(first, second, before, after, proof)


@pytest.mark.parametrize("size", [2, 3, 7, 8, 33, 100])
def test_another_implementation_agrees(size: int) -> None:
    other = InmemoryTree(algorithm="sha256")
    for entry in entries(size):
        other.append_entry(entry)
    root = other.get_root()
    assert root == merkle.root_at(size, TREE.node)
    for index in range(size):  # it counts from 1, and its paths hold the leaf as well
        leaf = merkle.leaf_hash(entries(size)[index])
        path = [hashed for hashed in other.prove_inclusion(index + 1, size).path if hashed != leaf]
        merkle.check_inclusion(leaf, index, size, root, path)


@given(st.integers(2, 300), st.data())
@FEW
def test_a_proof_of_another_place_size_leaf_or_hash_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, proof = reference.mth(entries(size)), merkle.inclusion_proof(index, size, TREE.node)
    leaf = merkle.leaf_hash(entries(size)[index])
    flipped = data.draw(st.integers(0, len(proof) - 1))
    damaged = [*proof]
    damaged[flipped] = bytes([damaged[flipped][0] ^ 1]) + damaged[flipped][1:]
    wrong = [
        (leaf, (index + 1) % size, size, root, proof), (leaf, size, size, root, proof),
        (leaf, index + size, size, root, proof), (leaf, -1, size, root, proof), (root, index, size, root, proof),
        (leaf, index, size, root, damaged), (leaf, index, size, root, proof[:-1]),
        (leaf, index, size, root, [*proof, root]), (leaf, index, size, leaf, proof),
    ]  # fmt: skip
    for attempt in wrong:
        with pytest.raises(NotIncludedError):
            merkle.check_inclusion(*attempt)


def changed(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """The proof, or one that is nearly it."""
    place, other = data.draw(st.integers(0, max(len(proof) - 1, 0))), [*proof]
    match data.draw(st.sampled_from(["same", "cut", "longer", "flipped", "swapped", "twice"])):
        case "cut":
            return other[:place] + other[place + 1 :]
        case "longer":
            return [*other, TREE.node(0, 0)]
        case "flipped" if other:
            other[place] = bytes([other[place][0] ^ 1]) + other[place][1:]
        case "swapped":
            return other[::-1]
        case "twice" if other:
            return [*other[:place], other[place], *other[place:]]
    return other


@given(st.integers(1, 300), st.data())
@FEW
def test_a_verifier_from_the_definition_accepts_the_same_inclusion_proofs(size: int, data: st.DataObject) -> None:
    index, asked = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, 300))
    proof = changed(merkle.inclusion_proof(index, size, TREE.node), data)
    root, leaf = reference.mth(entries(size)), TREE.node(0, index)
    expected = index < asked and reference.root_of_path(leaf, index, asked, proof) == root
    try:
        merkle.check_inclusion(leaf, index, asked, root, proof)
    except NotIncludedError:
        assert not expected
    else:
        assert expected


@given(st.integers(1, 300), st.integers(1, 300), st.data())
@FEW
def test_a_verifier_from_the_definition_accepts_the_same_consistency_proofs(
    one: int, other: int, data: st.DataObject
) -> None:
    first, second = sorted((one, other))
    proof = changed(merkle.consistency_proof(first, second, TREE.node), data)
    roots = reference.mth(entries(first)), reference.mth(entries(second))
    expected = reference.roots_of_proof(roots[0], first, second, proof, True) == roots
    try:
        merkle.check_consistency(first, second, *roots, proof)
    except ForkedLogError:
        assert not expected
    else:
        assert expected


def test_a_leaf_is_not_taken_for_a_node() -> None:
    left, right = (merkle.leaf_hash(entry) for entry in entries(2))
    root = merkle.node_hash(left, right)
    assert merkle.leaf_hash(left + right) != root
    with pytest.raises(NotIncludedError):
        merkle.check_inclusion(merkle.leaf_hash(left + right), 0, 1, root, [])
    four = reference.mth(entries(4))
    with pytest.raises(NotIncludedError):  # an inner node of a larger tree, passed off as a leaf of a smaller one
        merkle.check_inclusion(merkle.leaf_hash(left + right), 0, 2, four, [TREE.node(1, 1)])


@given(st.integers(1, 300), st.integers(1, 300), st.data())
@FEW
def test_a_history_that_was_changed_is_a_fork(one: int, other: int, data: st.DataObject) -> None:
    first, second = sorted((one, other))
    changed = entries(second)
    changed[data.draw(st.integers(0, first - 1))] = b"rewritten"
    before, after = reference.mth(entries(first)), reference.mth(changed)
    honest = merkle.consistency_proof(first, second, TREE.node)
    forged = merkle.consistency_proof(first, second, Tree(changed).node)
    for proof in (honest, forged, honest[:-1], [*honest, after], []):
        with pytest.raises(ForkedLogError):
            merkle.check_consistency(first, second, before, after, proof)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
@FEW
def test_a_proof_shows_the_root_that_a_larger_tree_begins_with(one: int, other: int, data: st.DataObject) -> None:
    first, second = sorted((one, other))
    root = reference.mth(entries(second))
    honest = merkle.consistency_proof(first, second, TREE.node)
    shown = merkle.root_shown(first, second, root, honest)
    is_left_out = first == second or first & (first - 1) == 0
    assert shown == (None if is_left_out else reference.mth(entries(first)))
    assert merkle.root_shown(first, second, root, changed(honest, data)) in (None, shown)


@given(st.integers(0, 300), st.integers(0, 300), st.lists(st.binary(min_size=32, max_size=32), max_size=12))
@FEW
def test_any_list_of_hashes_is_no_proof_between_unrelated_trees(first: int, second: int, proof: list[bytes]) -> None:
    roots = (reference.mth(entries(first)), reference.mth([b"other", *entries(second)]))
    if first == 0 and not proof:
        return
    with pytest.raises(ForkedLogError):
        merkle.check_consistency(first, second + 1, *roots, proof)


def test_cut_or_doubled_logs_are_named() -> None:
    with pytest.raises(ForkedLogError, match="some were removed"):
        merkle.check_consistency(5, 4, b"a" * 32, b"b" * 32, [])
    with pytest.raises(ForkedLogError, match="two different trees of 5"):
        merkle.check_consistency(5, 5, b"a" * 32, b"b" * 32, [])
    with pytest.raises(ForkedLogError, match="not empty"):
        merkle.check_consistency(5, 5, b"a" * 32, b"a" * 32, [b"c" * 32])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        merkle.inclusion_proof(index, size, TREE.node)
