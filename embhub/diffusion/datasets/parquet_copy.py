"""A copy of a data set's manifest in Apache Parquet, for tools that read tables of many images.

embhub writes it and never reads it: `manifest.csv` is what its commands read, because a damaged Parquet file of a few
bytes can make a reader ask for gigabytes. pyarrow is an extra (`embhub[parquet]`).
"""

from __future__ import annotations

import importlib
import io

from embhub.errors import UsageError
from embhub.project import how_to_install

NAME = "manifest.parquet"
TYPE = "application/vnd.apache.parquet"
_NUMBERS = {"seed": "uint64", "steps": "int32", "guidance": "float64"}


def check() -> None:
    """Refuse to begin without the library.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        importlib.import_module("pyarrow")
    except ImportError as error:
        raise UsageError("a table in Parquet needs pyarrow", how_to_install("parquet")) from error


def encode(table: bytes) -> bytes:
    """The rows of a manifest (CSV with a header) as Parquet; the same bytes for the same rows and version of pyarrow.

    Columns are strings, but for `seed`, `steps` and `guidance`.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    header = table.decode().partition("\n")[0].split(",")
    kinds = {name: pa.type_for_alias(_NUMBERS.get(name, "string")) for name in header}
    rows = csv.read_csv(
        io.BytesIO(table),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=kinds, strings_can_be_null=False),
    )
    written = io.BytesIO()
    parquet.write_table(rows, written, compression="zstd")
    return written.getvalue()
