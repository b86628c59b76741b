"""The words a tokenizer knows, out of any of the files that tokenizers are kept in, and their hash.

The same vocabulary gives the same hash whichever file it stands in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embhub.errors import ArtifactError
from embhub.formats import strict_json

_MAX_BYTES = 64_000_000
_MAX_PARTS = 5_000_000  # a vocabulary has some hundred thousand words
_SENTINEL = re.compile(r"<extra_id_\d+>")  # T5's fast tokenizer lists them, its sentencepiece file does not


class BadTokenizerError(ArtifactError):
    """A tokenizer folder without a vocabulary that can be read."""


def hash_vocabulary(folder: Path) -> str:
    """32 hex digits over the (word, number) pairs of tokenizer.json, vocab.json, vocab.txt or spiece.model.

    Raises:
        BadTokenizerError: none of these is there, or it cannot be read.
    """
    words = {word: number for word, number in _read(folder).items() if not _SENTINEL.fullmatch(word)}
    text = json.dumps(sorted(words.items()), separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _read(folder: Path) -> dict[str, int]:
    try:
        if (path := folder / "tokenizer.json").is_file():
            vocabulary = _read_json(path)["model"]["vocab"]
            return _by_number(vocabulary)
        if (path := folder / "vocab.json").is_file():
            return _by_number(_read_json(path))
        if (path := folder / "vocab.txt").is_file():
            lines = path.read_text("utf-8").split("\n")
            return {word: number for number, word in enumerate(lines[:-1] if not lines[-1] else lines)}
        for name in ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model"):
            if (path := folder / name).is_file():
                return {word: number for number, word in enumerate(_pieces(path.read_bytes()))}
    except (OSError, UnicodeError, strict_json.JsonError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadTokenizerError(f"cannot read the vocabulary in {folder}", "download the base model again") from error
    raise BadTokenizerError(
        f"{folder} holds no vocabulary", "tokenizer.json, vocab.json, vocab.txt and spiece.model are known"
    )


def _read_json(path: Path) -> dict[str, Any]:
    return strict_json.read_object(path.read_bytes(), limit=_MAX_BYTES, nodes=_MAX_PARTS, items=_MAX_PARTS)


def _by_number(vocabulary: Any) -> dict[str, int]:
    """A mapping word -> number, or the unigram model's list of [word, score]."""
    if isinstance(vocabulary, list):
        return {str(item[0]): number for number, item in enumerate(vocabulary)}
    if not isinstance(vocabulary, dict):
        raise ValueError("a vocabulary is an object or a list")
    return {str(word): int(number) for word, number in vocabulary.items()}


def _pieces(data: bytes) -> Iterator[str]:
    """Pieces of a sentencepiece model: field 1 of each message in field 1 (protocol buffers wire format)."""
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            texts = [text for inner, text in _fields(value) if inner == 1 and isinstance(text, bytes)]
            if not texts:
                raise ValueError("a piece without text")
            yield texts[0].decode("utf-8")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                if kind != 2:
                    raise ValueError("not protocol buffers")
                size, place = _varint(data, place)
            yield tag >> 3, data[place : place + size]
            place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("not protocol buffers")
