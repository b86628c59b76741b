"""Tables in Apache Parquet, read and written by pyarrow (an extra, `embhub[parquet]`).

A table is read as text, as a CSV is. Texts stay in the file's dictionaries until they are counted, so that a small file
cannot fill the memory. Messages name columns by number: a name may be a person's.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from embhub.errors import UsageError
from embhub.project import how_to_install

NAME = "manifest.parquet"
MAGIC = b"PAR1"
_MAX_TEXT = 10_000  # characters of one field
_MAX_COLUMNS = 200
_BATCH = 4096


def read(data: bytes, *, rows: int) -> tuple[list[str], list[dict[str, str]]]:
    """Column names, and at most `rows` + 1 rows of a file as text; a missing value is an empty text.

    Raises:
        UsageError: not a Parquet file, a column that is neither text, whole number, number nor truth value, a field of
            more than 10,000 characters, or pyarrow is not installed.
    """
    pa = _pyarrow("reading a Parquet table")
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(io.BytesIO(data)) as plain:
            schema = plain.schema_arrow
            _check(pa, schema)
        texts = [field.name for field in schema if _is_text(pa, field.type)]
        found: list[dict[str, str]] = []
        with pq.ParquetFile(io.BytesIO(data), read_dictionary=texts) as table:
            for batch in table.iter_batches(batch_size=_BATCH):
                found += _rows(pa, batch)
                if len(found) > rows:
                    break
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UsageError("the manifest is not a Parquet file that can be read", "write it again, or as CSV") from error
    return list(schema.names), found[: rows + 1]


def write(columns: Sequence[str], rows: Sequence[Sequence[Any]], types: Mapping[str, type]) -> bytes:
    """The table as Parquet: text columns, but for those that `types` names as int or float.

    The same rows give the same bytes with the same version of pyarrow.

    Raises:
        UsageError: pyarrow is not installed.
    """
    pa = _pyarrow("writing a Parquet table")
    import pyarrow.parquet as pq

    kinds = {int: pa.uint64(), float: pa.float64(), str: pa.string()}
    schema = pa.schema([(name, kinds[types.get(name, str)]) for name in columns])
    values = zip(*rows, strict=True) if rows else ([] for _ in columns)
    arrays = [pa.array(list(column), field.type) for column, field in zip(values, schema, strict=True)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def check_installed() -> None:
    """Refuse early what `write` would refuse.

    Raises:
        UsageError: pyarrow is not installed.
    """
    _pyarrow("writing a Parquet table")


def _pyarrow(purpose: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.compute
    except ImportError as error:
        raise UsageError(f"{purpose} needs pyarrow", how_to_install("parquet")) from error
    return pa


def _check(pa: Any, schema: Any) -> None:
    from embhub.images.columns import KNOWN

    if len(schema) > _MAX_COLUMNS:
        raise UsageError(f"the manifest has more than {_MAX_COLUMNS} columns", "leave out those that are not needed")
    for number, field in enumerate(schema, start=1):
        if field.name.strip() in KNOWN and pa.types.is_floating(field.type):
            raise UsageError(
                f"the manifest's column {field.name.strip()} holds numbers with a decimal point",
                "write it as text: 12 and 12.0 would be two patients, or two labels",
            )
        if not (_is_text(pa, field.type) or _is_simple(pa, field.type)):
            raise UsageError(
                f"column {number} of the manifest holds neither text nor numbers", "write it as text, or leave it out"
            )


def _is_text(pa: Any, kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_simple(pa: Any, kind: Any) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
    return any(check(kind) for check in checks)


def _rows(pa: Any, batch: Any) -> list[dict[str, str]]:
    columns = [_texts(pa, column) for column in batch.columns]
    return [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def _texts(pa: Any, column: Any) -> list[str]:
    if not pa.types.is_dictionary(column.type):
        return ["" if value is None else str(value) for value in column.to_pylist()]
    longest = pa.compute.max(pa.compute.binary_length(column.dictionary.cast(pa.large_string()))).as_py()
    if longest and longest > _MAX_TEXT:
        raise UsageError(f"a field of the manifest has more than {_MAX_TEXT:,} bytes", "shorten it")
    words = column.dictionary.to_pylist()
    return ["" if place is None or words[place] is None else words[place] for place in column.indices.to_pylist()]
