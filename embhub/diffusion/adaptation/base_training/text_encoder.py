"""The text side of a base: a small CLIP-format tokenizer learned from captions, and a frozen CLIP encoder drawn at
random.

The encoder is never trained: trained jointly it collapses (two captions that differ in one word come out alike, and
the denoiser learns to ignore words). A random one keeps words apart from the first step, and only the denoiser learns
to read it. Token rows have deviation 1 and positions 0.1, so that what a word is outweighs where it stands.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import pre_tokenizers
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from embhub.diffusion.adaptation.base_training.captions import Caption

LENGTH = 77
"""Tokens of a prompt of new bases, as many as CLIP has: 64 vectors and a sentence fit. The built-in bases have 48."""
WIDTH = 128
START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
_MOST_PIECES = 16
_MOST_ROWS = 8
_SMALL = {"in", "and", "with"}
# Words that people will type at a base, so that they are not spelled out letter by letter.
_COMMON = (
    "an image of a patient with a photo of showing and or without no left right upper lower middle finding disease "
    "axial coronal sagittal frontal mri ct pet dwi adc flair t1 t2 lesion tumor tumour cancer carcinoma prostate "
    "breast kidney lung brain liver pneumonia pneumothorax effusion hemorrhage fracture cardiomegaly nodule mass cyst "
    "opacity edema consolidation infiltrate ultrasound histology malignant benign"
)


def make_tokenizer(folder: Path, texts: Sequence[str]) -> CLIPTokenizer:
    """Learn a byte-pair vocabulary from `texts` and common words, in CLIP's format in `folder`, and load it.

    Where `folder` holds one already it is loaded as it is.
    """
    if (folder / "tokenizer_config.json").exists():
        kept: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder))
        return kept
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges([*texts, *[_COMMON] * 20])
    pieces = sorted({*alphabet, *(letter + END_OF_WORD for letter in alphabet), *("".join(pair) for pair in merges)})
    pieces += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder))
    return tokenizer


def learn_merges(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges (Sennrich et al. 2016, arXiv 1508.07909) that make one piece of each word that occurs twice.

    Ties are broken by spelling. The learner of `tokenizers` breaks them by chance, so that two runs of one base
    would give its words different rows. Words of ASCII letters, as all captions here are.
    """
    split = pre_tokenizers.Whitespace()
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text.lower()))
    words = {word: (*word[:-1], word[-1] + END_OF_WORD) for word, count in counts.items() if count > 1}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {word: _merge(pieces, best) for word, pieces in words.items()}


def _merge(pieces: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def make_encoder(tokenizer: CLIPTokenizer, seed: int) -> CLIPTextModel:
    """A frozen random encoder for `tokenizer`: two layers, width 128, output (B, L, 128)."""
    torch.manual_seed(seed)
    start, end = tokenizer.convert_tokens_to_ids([START, END])
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=WIDTH,
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    with torch.no_grad():
        rows = encoder.get_input_embeddings().weight
        rows.normal_(0, 1)
        rows[[start, end]] = 0
        for name, value in encoder.named_parameters():
            if "position_embedding" in name:
                value.normal_(0, 0.1)
            elif "self_attn.out_proj.weight" in name:
                value.mul_(4)
    encoder.requires_grad_(False).eval()
    return encoder


class CaptionEncoder:
    """Encodes captions as the pipeline would, but some with their words merged, as the vectors of an embedding will
    be.

    In a merged caption the words of a phrase are shared out over one to eight rows, each the normalised sum of its
    words' rows. So the denoiser learns to read rows that mean several words at once, which is what inversion looks
    for.
    """

    def __init__(self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder
        self.start, self.end = tokenizer.convert_tokens_to_ids([START, END])
        self._pieces: dict[str, list[int]] = {}
        self._bags: tuple[Tensor, Tensor] | None = None
        encoder.get_input_embeddings().register_forward_hook(self._sum)

    @torch.no_grad()
    def __call__(
        self, captions: Sequence[Caption], rng: np.random.Generator | None = None, merged: float = 0.0
    ) -> Tensor:
        """Hidden states (B, L, 128), L tokens of a prompt; a share `merged` of the captions with merged words, a
        sixth more with words shuffled."""
        return self.read(torch.from_numpy(self.bags(captions, rng, merged)))

    def bags(
        self, captions: Sequence[Caption], rng: np.random.Generator | None = None, merged: float = 0.0
    ) -> NDArray[np.int16]:
        """Pieces of each row of each caption, (B, L, 16), filled up with -1."""
        length = self.tokenizer.model_max_length
        found = np.full((len(captions), length, _MOST_PIECES), -1, np.int16)
        found[..., 0] = self.end
        for row, caption in enumerate(captions):
            rows = [[self.start], *self._rows(caption, rng, merged)][: length - 1]
            for place, bag in enumerate(rows):
                pieces = bag[:_MOST_PIECES]
                found[row, place, : len(pieces)] = pieces
        return found

    def read(self, bags: Tensor) -> Tensor:
        """Hidden states (B, L, 128) of `bags`; a row is the sum of its pieces over the root of their number."""
        ids = bags.to(self.encoder.device).flatten(0, 1)
        there = ids >= 0
        weights = there.float() * there.sum(1, keepdim=True).float().rsqrt()
        self._bags = (torch.where(there, ids, self.end).long(), weights)
        try:
            nothing = torch.zeros(bags.shape[:2], dtype=torch.long, device=ids.device)
            hidden: Tensor = self.encoder(nothing)[0]
        finally:
            self._bags = None
        return hidden

    def _rows(self, caption: Caption, rng: np.random.Generator | None, merged: float) -> list[list[int]]:
        rows = [[piece] for piece in self._ids(caption.head)]
        for number, phrase in enumerate(caption.phrases):
            if number:
                rows += [[piece] for piece in self._ids(caption.joint)]
            rows += self._phrase(phrase, rng, merged)
        return rows

    def _phrase(self, phrase: str, rng: np.random.Generator | None, merged: float) -> list[list[int]]:
        chance = 1.0 if rng is None else rng.random()
        if rng is None or chance >= merged + 0.15:
            return [[piece] for piece in self._ids(phrase)]
        words = [word for word in phrase.replace(",", " ").split() if word not in _SMALL]
        if chance >= merged:
            return [[piece] for index in rng.permutation(len(words)) for piece in self._ids(words[index])]
        homes = rng.integers(0, rng.integers(1, _MOST_ROWS + 1), len(words))
        bags = [
            [piece for word, at in zip(words, homes, strict=True) if at == home for piece in self._ids(word)]
            for home in set(homes)
        ]
        return [bags[index] for index in rng.permutation(len(bags))]

    def _ids(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = list(self.tokenizer(text, add_special_tokens=False).input_ids)
        return self._pieces[text]

    def _sum(self, module: torch.nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if self._bags is None:
            return output
        ids, weights = self._bags
        table: Any = module.weight
        return F.embedding_bag(ids, table, mode="sum", per_sample_weights=weights).view_as(output)
