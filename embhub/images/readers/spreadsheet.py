"""The first sheet of an Excel workbook as the text of a CSV file, by openpyxl, within bounds."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
import zlib
from datetime import date, datetime
from typing import Any

from embhub.errors import UsageError
from embhub.project import how_to_install

_MOST = 200_000_000
"""Bytes to which a workbook may unfold, and characters of its first sheet."""
_OLD = b"\xd0\xcf\x11\xe0"
_SAVE = "save it as .xlsx, or as CSV UTF-8"
# What openpyxl raises on damaged workbooks; SyntaxError is how the standard library calls damaged XML.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, IndexError, EOFError, SyntaxError,
    RuntimeError, NotImplementedError, OverflowError, OSError,
)  # fmt: skip


def is_workbook(data: bytes) -> bool:
    """Whether a file is Excel's: a zip archive, or the older container, in which a workbook with a password is, too."""
    return data.startswith((b"PK\x03\x04", _OLD))


def to_csv(data: bytes, *, most_rows: int) -> str:
    """The first sheet with commas, to one row beyond `most_rows`, without empty rows, and empty columns at its end.

    Raises:
        UsageError: openpyxl is not installed, or this is no workbook that it reads.
    """
    if data.startswith(_OLD):
        raise UsageError("the manifest is an Excel file of the old format, or has a password", _SAVE)
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UsageError("a manifest in Excel's format needs openpyxl", how_to_install("xlsx")) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > _MOST:
                raise UsageError("the manifest holds more than 200 MB when it is unpacked", _SAVE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on styles and other parts that are not read
            sheet = load_workbook(io.BytesIO(data), read_only=True, data_only=True).worksheets[0]
            sheet.reset_dimensions()  # which some programs write wrongly
            return _write(sheet, most_rows)
    except _DAMAGED as error:
        raise UsageError("the manifest is damaged, or no Excel workbook", _SAVE) from error


def _write(sheet: Any, most_rows: int) -> str:
    text = io.StringIO(newline="")
    table, width = csv.writer(text), 0
    for cells in sheet.iter_rows(values_only=True, max_row=most_rows + 2):
        words = [_say(cell) for cell in cells]
        if not any(words):
            continue
        while len(words) > width and not words[-1]:
            words.pop()
        width = width or len(words)
        table.writerow([*words, *[""] * (width - len(words))])
        if text.tell() > _MOST:
            raise UsageError("the manifest holds more than 200 MB when it is unpacked", _SAVE)
    return text.getvalue()


def _say(cell: Any) -> str:
    """A cell as Excel writes it into CSV: whole numbers without a point, a day without a time of day."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and (cell.hour, cell.minute, cell.second) == (0, 0, 0):
        return cell.date().isoformat()
    return cell.isoformat() if isinstance(cell, date) else str(cell)
