"""Every module of both packages can be imported with the versions of other packages that are installed."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType

import pytest

import embhub
import embhub_registry

FLARE = "embhub.diffusion.studies.flare"
OF_FLARE = (f"{FLARE}.network",)
"""What needs FLARE; everything else does without."""


@pytest.mark.parametrize("package", [embhub, embhub_registry], ids=lambda package: package.__name__)
def test_every_module_can_be_imported(package: ModuleType) -> None:
    failed = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        if module.name in OF_FLARE and importlib.util.find_spec("nvflare") is None:
            continue
        try:
            importlib.import_module(module.name)
        except Exception as error:  # noqa: BLE001 (each is named below)
            failed[module.name] = repr(error)[:200]
    assert not failed
