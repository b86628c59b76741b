"""Hospital files that must be refused: in words, with bounded memory, with nothing of them cited."""

from __future__ import annotations

import traceback
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.errors import UsageError
from embhub.images.pixels import read_pixels
from embhub.images.readers.dicom_header import take
from embhub.images.readers.view import View
from tests.support import medical

RAMP = (np.arange(4096, dtype=np.uint16)).reshape(64, 64)
SECRET = "QUILLFEATHER^THEODORA"
LIMIT = 50_000_000  # bytes that any refusal may have allocated on the way


def refusal(path: Path, call: Callable[[], Any]) -> UsageError:
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as caught:
            call()
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "Quillfeather" not in said and SECRET not in said and path.name not in caught.value.message
    assert caught.value.hint
    return caught.value


def look(path: Path, view: View | None = None) -> None:
    """All that embhub does with a DICOM file."""
    take(path, "image 7")
    read_pixels(path, "image 7", view=view)


def secret(**fields: Any) -> Any:
    return medical.dataset(RAMP, **{"PatientName": SECRET, "PatientID": "Quillfeather", **fields})
