"""Two ways of going through a site's images: `train` refuses at the first problem, `inspect` notes it and goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from embhub.errors import EmbhubError

if TYPE_CHECKING:
    from embhub.images.manifests.sample import Listing, Sample
    from embhub.images.readers.encoding import Encoding


class Watcher:
    """Told of everything that listing and reading images come upon. This one refuses, and looks at nothing else."""

    def listing(self, listing: Listing) -> None:
        """What is going to be opened."""

    def problem(self, error: EmbhubError, rows: Sequence[int] = ()) -> None:  # noqa: ARG002  # other watchers use it
        """What is wrong, and in which rows. Where this returns, those rows are left out and the rest is read on."""
        raise error

    def file(self, sample: Sample, image: Image.Image) -> None:
        """An image as its file has it: format, mode, tags. Must not raise."""

    def stored(self, sample: Sample, encoding: Encoding) -> None:
        """How a DICOM file or a volume keeps an image: in place of `file`, which those have none for."""

    def picture(self, sample: Sample, image: Image.Image, digest: bytes) -> None:
        """The same image as it is learned from: upright, 8-bit RGB, its own size, with the hash of its pixels."""


REFUSE = Watcher()
