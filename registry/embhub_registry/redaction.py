"""Secrets in text that is about to be written down: a token may arrive in any header, path, name or error."""

from __future__ import annotations

import re

# Ours and the Hub's, which people mix up; and whatever stands where a credential stands.
_TOKEN = re.compile(r"(emb|\bhf)_[A-Za-z0-9_-]{16,}")
_CREDENTIAL = re.compile(r"(?i)\b(authorization\W{1,6}(?:bearer|basic))\s+[^\s\"'\\]+")


def redact(text: str) -> str:
    """`text` with every token and credential in it replaced by a word that says so."""
    if text.isascii() and "emb_" not in text and "hf_" not in text and "authorization" not in text.lower():
        return text  # most lines; the patterns below cost ten times as much
    return _CREDENTIAL.sub(r"\1 [redacted]", _TOKEN.sub(r"\1_[redacted]", text))
