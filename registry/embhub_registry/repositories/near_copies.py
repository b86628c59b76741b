"""The same numbers under another header, and nearly the same: what a digest of the file does not see.

A sketch holds 1,024 signs of each vector: of its products with random vectors of +1 and -1, the same for everybody.
Two vectors at the angle a differ in the share a/pi of them (Charikar, STOC 2002), so that the signs tell the cosine.
Signs give the direction of a vector to whoever reads them. Of an erased file each group of 64 is replaced by a digest:
whoever has nearly the same numbers finds equal ones, and whoever has not has up to 2^64 groups to try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embhub.artifact import numbers
from embhub.errors import ArtifactError
from embhub.formats import tensors as container
from embhub.formats.tensors import TALL
from embhub.release.checks.attested import LEAK
from embhub.release.files import EMBEDDING
from embhub.trust import kinds
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection
from embhub_registry.database.releases import number_rows
from embhub_registry.database.releases.number_rows import Numbers
from embhub_registry.database.standing import withdrawals
from embhub_registry.repositories import access, audit_standing

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIDDEN = "a release that not everybody may read"
VECTOR, GROUP = 128, 8  # bytes of a sketch for each vector, and for 64 of its signs
DIGEST, LEAST_EQUAL = 6, 2
"""Bytes of a group's digest, and how many of a vector's 16 are equal at least: by calculation two or more are in 99.7 %
of vectors at a cosine of .999, and in a fifth at .99."""
DIFFERENT = 24 / 1024
"""Of a vector's signs at most: at a cosine of .999, 14.6 of 1,024 differ on average, with a deviation of 3.8."""


def of(tree: Mapping[str, bytes]) -> Numbers | None:
    """The numbers of the embedding among files; None where it is none, or cannot be read."""
    data = tree.get(EMBEDDING)
    try:
        return None if data is None else describe(data)
    except ArtifactError:
        return None  # admission says why


def describe(data: bytes) -> Numbers:
    """The row of a file. Raises ArtifactError where it is no embedding."""
    made = container.parse(data).tensors
    vectors = [tensor.values.T if name.endswith(TALL) else tensor.values for name, tensor in made.items()]
    shape, sketch = " ".join("x".join(map(str, part.shape)) for part in vectors), b"".join(map(_sketch, vectors))
    return Numbers(hashlib.sha256(data).hexdigest(), numbers.digest(made), shape, sketch)


def files_like(db: Connection, row: Numbers) -> list[str]:
    """The file, and another one with its numbers where there is one: statements about either are about both."""
    return list(dict.fromkeys([row.file, number_rows.file_with(db, row.digest) or row.file]))


def say(db: Connection, file: str, *, repository: str, keyring: Keyring) -> tuple[str, ...]:
    """As `say_of`, of a file that was admitted."""
    return say_of(db, number_rows.find(db, file), repository=repository, keyring=keyring)


def say_of(db: Connection, mine: Numbers | None, *, repository: str, keyring: Keyring) -> tuple[str, ...]:
    """Of which withdrawn or leaking embeddings these are the numbers or nearly, in words; not what binds it itself.

    A name is told where everybody may read it. A leak that was found elsewhere is told in any case: a publisher who had
    these bytes audited in a private repository cannot publish them as if nothing had been found.
    """
    namespace = repository.partition("/")[0]
    if mine is None:
        return ()
    found: dict[str, None] = {}
    for other in number_rows.marked(db, mine.shape):
        same = other.digest == mine.digest
        if not same and not _is_near(mine, other):
            continue
        what = "the numbers of" if same else "nearly the numbers of"
        for row in withdrawals.of_bytes(db, other.file):
            if not (same and (row.authority == "operator" or row.namespace == namespace)):
                where = HIDDEN if row.private else f"{row.repository} {row.version}"
                found[f"{what} {where}, withdrawn"] = None
        for audit in audit_standing.leaks(db, other.file, publisher=namespace, keyring=keyring):
            open_to_all = access.may_read_statement(db, None, audit)
            if same and (open_to_all or audit.repository == repository):
                continue  # it stands among the audits
            where = f"{audit.repository} {audit.version}" if open_to_all else HIDDEN
            found[f"{what} {where}, {LEAK} by {audit.namespace}"] = None
    return tuple(found)[: kinds.AUDIT.listed.most]


def erase(db: Connection, files: Sequence[str]) -> None:
    """Keep of files that are deleted what finds them again, and no more."""
    for file in files:
        if (row := number_rows.find(db, file)) is not None and not _is_hashed(row):
            number_rows.replace_sketch(db, file, _hashed(row.sketch))


def _sketch(vectors: NDArray[Any]) -> bytes:
    """The signs of each row's products, packed: VECTOR bytes a row."""
    import numpy as np

    width = vectors.shape[1]
    random = hashlib.shake_256(b"embhub sketch 1").digest(VECTOR * width)
    signs = np.unpackbits(np.frombuffer(random, np.uint8)).reshape(width, 8 * VECTOR).astype(np.float32) * 2 - 1
    return np.packbits(vectors.astype(np.float32) @ signs > 0, axis=1).tobytes()


def _hashed(sketch: bytes) -> bytes:
    """A digest of each group of signs in their place."""
    groups = (sketch[begin : begin + GROUP] for begin in range(0, len(sketch), GROUP))
    return b"".join(hashlib.blake2b(group, digest_size=DIGEST).digest() for group in groups)


def _is_hashed(row: Numbers) -> bool:
    """Whether the file was erased: every sketch is a whole number of vectors, told by their shapes."""
    return len(row.sketch) != VECTOR * sum(int(part.partition("x")[0]) for part in row.shape.split())


def _is_near(one: Numbers, other: Numbers) -> bool:
    """Whether few signs of each vector differ; where one file was erased, whether groups of them are equal."""
    import numpy as np

    if not _is_hashed(one) and not _is_hashed(other):
        first, second = (np.frombuffer(row.sketch, np.uint8).reshape(-1, VECTOR) for row in (one, other))
        different = np.unpackbits(first ^ second, axis=1).sum(axis=1)
        return bool((different <= DIFFERENT * 8 * VECTOR).all())
    kept = [row.sketch if _is_hashed(row) else _hashed(row.sketch) for row in (one, other)]
    digests, others = (np.frombuffer(sketch, np.uint8).reshape(-1, VECTOR // GROUP, DIGEST) for sketch in kept)
    return bool(((digests == others).all(axis=2).sum(axis=1) >= LEAST_EQUAL).all())
