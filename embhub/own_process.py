"""What is set in processes that are embhub's own: the command line and the workers of an audit.

A program that imports embhub decides these for itself; nothing here runs on import.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import threading
from types import ModuleType
from typing import Any, NoReturn

_SETTINGS = {
    # Threads of OpenMP that spin while they wait starve each other where two trainings share a machine: one took three
    # times as long. Read when torch is loaded.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    # Plugins of other packages have no place in what verifies signatures, and looking for them reads the metadata of
    # every installed package. Read when pydantic builds its first model.
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of a base that is fetched from the Hub; read when huggingface_hub is loaded
}


BRIEF = frozenset({"lock", "show", "status", "verify"})
"""Commands that read a few files of bounded size and end: freeing cycles on the way would only delay them."""


def settle(command: str = "") -> None:
    """Set what nobody set before; call it before torch and huggingface_hub are imported.

    Args:
        command: the command that this process runs; for one of BRIEF no search for cycles is made at all, which takes a
            seventh of the time of `verify`.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if command in BRIEF:
        gc.disable()
        _look_for_no_plugins()
    atexit.register(gc.freeze)  # no search for cycles in what the end of the process frees anyway: a fifth of `verify`


def leave(code: int, command: str = "") -> NoReturn:
    """End this process with the exit code `code`.

    Args:
        command: the command that ran. After one of BRIEF, memory is given back at once and not object by object. What
            is registered with `atexit` runs in any case.
    """
    if command in BRIEF and threading.active_count() == 1:
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (OSError, ValueError):
            sys.exit(code)  # Python says what could not be written
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


_LOADER = "pydantic.plugin._loader"


def _look_for_no_plugins() -> None:
    """Stand in for pydantic's search for plugins where PYDANTIC_DISABLE_PLUGINS ends it.

    It finds nothing then, and imports `importlib.metadata` first, with all that e-mail and sockets need. Whatever else
    is asked of that module, the real one answers.
    """
    if os.environ.get("PYDANTIC_DISABLE_PLUGINS") != "__all__" or _LOADER in sys.modules:
        return
    stand_in: Any = ModuleType(_LOADER)

    def real(name: str) -> Any:
        if name.startswith("__"):  # the import system asks for these
            raise AttributeError(name)
        if sys.modules.get(_LOADER) is stand_in:
            del sys.modules[_LOADER]
        return getattr(importlib.import_module(_LOADER), name)

    stand_in.get_plugins = tuple  # none
    stand_in.__getattr__ = real
    sys.modules[_LOADER] = stand_in
