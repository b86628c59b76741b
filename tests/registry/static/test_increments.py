"""What is put in place is what was checked, and all that the increment lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from embhub.errors import UsageError
from embhub_registry.static import continuing, increments, items, nginx_part
from tests.support.statics import contents, make_increment


def test_a_file_where_another_one_needs_a_folder_is_refused(tmp_path: Path) -> None:
    """One would take the place of the other, and the list would name a file that is not there."""
    copy, stick, place = tmp_path / "copy", tmp_path / "stick", "api/models/radboud/one/tree"
    make_increment(copy, {f"{place}/x/y": b"[]"})
    before = contents(copy)
    make_increment(stick, {f"{place}/x": b"[1]"})
    both = [items.of_bytes(path, data, stage=0) for path, data in ((f"{place}/x/y", b"[]"), (f"{place}/x", b"[1]"))]
    (stick / items.MANIFEST).write_bytes(items.manifest(both, registry="", checkpoint="").read())
    with pytest.raises(UsageError, match="needs a folder"):
        increments.apply(stick, copy)
    assert contents(copy) == before


def test_bytes_that_were_checked_are_those_that_are_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device can answer otherwise each time that it is read."""
    copy, check = tmp_path / "copy", continuing.check
    good, evil = nginx_part.write([]).read(), nginx_part.write([]).read() + b"location / { autoindex on; }\n"
    make_increment(copy, {nginx_part.PATH: good})
    stick = make_increment(tmp_path / "stick", {nginx_part.PATH: evil})
    before = contents(copy)

    def while_it_answers_otherwise(found: Mapping[str, items.Item], folder: Path) -> None:
        (stick / nginx_part.PATH).write_bytes(good)
        check(found, folder)
        (stick / nginx_part.PATH).write_bytes(evil)

    monkeypatch.setattr(continuing, "check", while_it_answers_otherwise)
    with pytest.raises(UsageError, match=r"nginx\.conf changed while it was read"):
        increments.apply(stick, copy)
    assert contents(copy) == before
