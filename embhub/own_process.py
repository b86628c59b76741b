"""What is set in processes that are embhub's own, the command line and the workers of an audit, and how they end.

A program that imports embhub decides these for itself; nothing here runs on import.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_SETTINGS = {
    # Threads of OpenMP that spin while they wait starve each other where two trainings share a machine: one took three
    # times as long. Read when torch is loaded.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Plugins of other packages have no place in what verifies signatures. Read when pydantic builds its first model.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of a base that is fetched from the Hub; read when huggingface_hub is loaded
}


def end(code: int) -> NoReturn:
    """End this process with an exit code, also where stdout takes nothing more.

    Python writes at the end what stdout still holds; if that failed once more, the exit code would be 120.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None
    sys.exit(code)


def settle() -> None:
    """Set what nobody set before; call it before torch and huggingface_hub are imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
