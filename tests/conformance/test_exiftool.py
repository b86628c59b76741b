"""exiftool, which many archives and newsrooms use, reads the mark of generated images."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from embhub.formats.synthetic_mark import COMPOSITE, mark_png
from tests.support import releases, tools

pytestmark = tools.needs("exiftool")


def read(path: Path) -> dict[str, str]:
    words = ["exiftool", "-json", "-n", "-warning", "-XMP:all", str(path)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return dict(found[0])


def test_the_mark_of_a_sheet_and_of_an_image(tmp_path: Path) -> None:
    sheet, image = tmp_path / "sheet.png", tmp_path / "image.png"
    sheet.write_bytes(releases.make_sheet())
    bare = bytearray(releases.make_sheet())
    del bare[33 : bare.index(b"IDAT") - 4]
    image.write_bytes(mark_png(bytes(bare), COMPOSITE, embeddings=["ab" * 32, "cd" * 32], base="ef" * 32))
    address = "http://cv.iptc.org/newscodes/digitalsourcetype/"
    said = read(sheet)
    assert said["DigitalSourceType"] == f"{address}trainedAlgorithmicMedia" and "Warning" not in said
    said = read(image)
    assert said["DigitalSourceType"] == f"{address}{COMPOSITE}" and "Warning" not in said
    assert (said["Embeddings"], said["Base"]) == (f"{'ab' * 32} {'cd' * 32}", "ef" * 32)
