"""Restoring a backup in tests that are about what it holds, not about who made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embhub_registry.operation.backups import restoring


def restore(file: Path, folder: Path, **choices: Any) -> dict[str, Any]:
    """Restore it, whoever signed it; tokens and keyring stay as they were."""
    usual = {"unauthenticated": True, "keep_tokens": True, "keep_keyring": True}
    return restoring.restore(file, folder, **{**usual, **choices})
