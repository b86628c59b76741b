"""The building blocks against published test vectors, and our own derivations against frozen ones."""

from __future__ import annotations

import hmac

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from embhub.study import masking, shamir

SCALARS = st.integers(0, shamir.ORDER - 1)


def little(text: str) -> int:
    return shamir.from_bytes(bytes.fromhex(text))


def test_shamir_of_rfc_9591_appendix_e1() -> None:
    secret = little("7b1c33d3f5291d85de664833beb1ad469f7fb6025a0ec78b3a790c6e13a98304")
    slope = little("178199860edd8c62f5212ee91eff1295d0d670ab4ed4506866bae57e7030b204")
    shares = {
        1: little("929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509"),
        2: little("a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d"),
        3: little("d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02"),
    }
    assert shamir.evaluate([secret, slope], [1, 2, 3]) == shares
    for two in ((1, 2), (1, 3), (3, 2)):
        assert shamir.combine({place: shares[place] for place in two}) == secret


@given(secret=SCALARS, sites=st.integers(1, 12), data=st.data())
def test_a_quorum_of_shares_gives_a_secret_and_one_fewer_another(secret: int, sites: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, sites))
    places = data.draw(st.permutations(range(1, sites + 1)))
    shares = shamir.split(secret, threshold=threshold, places=places)
    assert shamir.combine({place: shares[place] for place in places[:threshold]}) == secret
    assert shamir.combine(shares) == secret
    if threshold > 1:
        assert shamir.combine({place: shares[place] for place in places[: threshold - 1]}) != secret


def test_shares_below_the_threshold_tell_nothing() -> None:
    """Any secret fits what fewer sites hold: with one share of 2, each secret has its own other share."""
    one = shamir.split(5, threshold=2, places=[1, 2])[1]
    for secret in (0, 1, 5, shamir.ORDER - 1):
        slope = (one - secret) % shamir.ORDER
        assert shamir.evaluate([secret, slope], [1])[1] == one


@pytest.mark.parametrize(
    "places, threshold, secret",
    [([], 1, 1), ([1, 1], 1, 1), ([0, 1], 1, 1), ([1, 2], 3, 1), ([1, 2], 0, 1), ([1, 2], 1, shamir.ORDER),
     ([1], 1, -1)],
)  # fmt: skip
def test_no_secret_is_split_otherwise(places: list[int], threshold: int, secret: int) -> None:
    with pytest.raises(ValueError):
        shamir.split(secret, threshold=threshold, places=places)


@pytest.mark.parametrize("shares", [{}, {0: 1}, {1: shamir.ORDER}, {1: -1}])
def test_what_is_no_share_is_refused(shares: dict[int, int]) -> None:
    with pytest.raises(ValueError):
        shamir.combine(shares)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), shamir.ORDER.to_bytes(32, "little"), b"\xff" * 32])
def test_what_is_no_scalar_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        shamir.from_bytes(data)


def test_agreement_of_rfc_7748_section_6_1() -> None:
    alice = X25519PrivateKey.from_private_bytes(
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    )
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert masking.agree(alice, bob).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_key_stream_of_rfc_8439_appendix_a1() -> None:
    stream = masking.expand(bytes(32), 16).astype("<u4").tobytes().hex()
    assert stream.startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7")
    assert stream.endswith("da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586")


def test_derivations_stay_what_they_are() -> None:
    """Sites with different versions of embhub must agree on every mask.

    The numbers are what this code gave when they were pinned; `test_keys_are_derived_as_written_here` makes the keys
    of masks and boxes anew, from the standard library alone.
    """
    seed, other = 1234567890123456789, masking.mask_key(42)
    key = masking.mask_key(seed)
    assert masking.public_bytes(key).hex() == "e60c8417ef5eb71e836029e01bd32242ffb2036af950c458232f7cedab66b375"
    assert masking.commit(seed).hex() == "b5977bab57820dccd0eef308a2c71f0ee1a3b32c108592e80b0e35a81b8eaaba"
    assert masking.own_mask(seed, 3, b"context").tolist() == [1249534704, 1950780135, 570742612]
    pair = masking.pair_mask(key, masking.public_bytes(other), 3, b"context", ("site-a", "site-b"))
    assert pair.tolist() == [662812275, 1980517266, 2917920006]
    box = masking.seal(key, masking.public_bytes(other), b"share", b"context", ("site-a", "site-b"))
    assert box.hex() == "e3754f84aeac4fac2c4e25895be86969371407c95f"
    assert masking.derive(b"secret", b"a", b"bc") != masking.derive(b"secret", b"ab", b"c")


def hkdf(secret: bytes, *labels: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block; the info is the schema and each label after its length."""
    info = b"embhub.study-step/1" + b"".join(len(label).to_bytes(4, "big") + label for label in labels)
    extracted = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_keys_are_derived_as_written_here() -> None:
    first, second = masking.mask_key(1), masking.mask_key(2)
    one, two, sites = masking.public_bytes(first), masking.public_bytes(second), ("site-b", "site-a")
    secret, names = masking.agree(first, two), (b"site-a", b"site-b")  # in the order of their names
    key = hkdf(secret, b"pair mask", b"step", *names, *sorted((one, two)))
    assert (masking.pair_mask(first, two, 5, b"step", sites) == masking.expand(key, 5)).all()
    key = hkdf(secret, b"box", b"step", *names, one, two)  # from whom, to whom
    assert masking.seal(first, two, b"share", b"step", sites) == ChaCha20Poly1305(key).encrypt(
        bytes(12), b"share", b"step"
    )


def test_a_copied_key_gives_other_masks_and_boxes_under_another_name_or_spelling() -> None:
    key, public = masking.mask_key(1), masking.public_bytes(masking.mask_key(2))
    respelt = public[:-1] + bytes([public[-1] ^ 128])
    assert masking.agree(key, public) == masking.agree(key, respelt)  # X25519 does not look at the top bit
    ways = [(public, ("a", "b")), (public, ("a", "c")), (respelt, ("a", "b"))]
    assert len({masking.pair_mask(key, other, 8, b"", sites).tobytes() for other, sites in ways}) == 3
    assert len({masking.seal(key, other, bytes(64), b"", sites)[:64] for other, sites in ways}) == 3


@given(one=SCALARS, other=SCALARS, context=st.binary(max_size=20))
def test_both_sites_of_a_pair_have_one_mask(one: int, other: int, context: bytes) -> None:
    first, second = masking.mask_key(one), masking.mask_key(other)
    mask = masking.pair_mask(first, masking.public_bytes(second), 5, context, ("a", "b"))
    assert (mask == masking.pair_mask(second, masking.public_bytes(first), 5, context, ("b", "a"))).all()
    assert (mask != masking.pair_mask(first, masking.public_bytes(second), 5, context + b"x", ("a", "b"))).any()


def test_masks_are_uniform() -> None:
    values = masking.own_mask(shamir.draw(), 100_000, b"")
    counts = np.bincount(values >> np.uint32(24), minlength=256)
    assert ((counts - 100_000 / 256) ** 2 / (100_000 / 256)).sum() < 400  # chi-square, 255 degrees: 1 in 10 million


def test_a_box_opens_for_its_receiver_in_its_context_alone() -> None:
    sender, receiver, third = (X25519PrivateKey.generate() for _ in range(3))
    names = {key: masking.public_bytes(key) for key in (sender, receiver, third)}
    box = masking.seal(sender, names[receiver], b"share", b"step 1", ("a", "b"))
    assert masking.unseal(receiver, names[sender], box, b"step 1", ("a", "b")) == b"share"
    back = masking.seal(receiver, names[sender], b"share", b"step 1", ("a", "b"))
    assert back[:5] != box[:5]  # one key for both directions would be one key stream for two messages
    ab, ac = ("a", "b"), ("a", "c")
    for key, other, context, sites in [
        (receiver, names[sender], b"step 2", ab), (third, names[sender], b"step 1", ab),
        (receiver, names[third], b"step 1", ab), (sender, names[receiver], b"step 1", ab),
        (receiver, names[sender], b"step 1", ac),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="sealed"):
            masking.unseal(key, other, box, context, sites)
    with pytest.raises(ValueError, match="sealed"):
        masking.unseal(receiver, names[sender], box[:-1] + bytes([box[-1] ^ 1]), b"step 1", ("a", "b"))


@pytest.mark.parametrize("public", [bytes(32), (1).to_bytes(32, "little")])
def test_a_key_of_low_order_gives_no_secret(public: bytes) -> None:
    with pytest.raises(ValueError):
        masking.agree(X25519PrivateKey.generate(), public)
