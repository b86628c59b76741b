"""What an inspection remembers of images while they are read one by one: a few words and a kilobyte each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from embhub.errors import EmbhubError
from embhub.images.checks import burned_text
from embhub.images.images import find_names
from embhub.images.inspections.metadata import text_fields
from embhub.images.inspections.near_duplicates import Likenesses
from embhub.images.inspections.pixel_formats import describe
from embhub.images.manifests.problems import Watcher
from embhub.images.manifests.sample import Listing, Sample, each_file
from embhub.images.readers.encoding import Encoding

if TYPE_CHECKING:
    from embhub.images.readers.dicom_header import Header


class Survey(Watcher):
    """Notes problems instead of raising them, and looks at every image that can be read.

    `read`, `sizes` and `encodings` have one entry a readable image; `pictures` maps the hash of a picture to the
    images that show it, in the order in which `likenesses` got them. `with_text` are those into which text is burned,
    `text_unknown` those that could not be looked at; `finds_text` says whether any was looked for.
    """

    def __init__(self) -> None:
        self.samples: tuple[Sample, ...] = ()
        self.names: list[int] = []
        self.listed = 0
        self.left_out = 0
        self.problems: list[tuple[EmbhubError, tuple[int, ...]]] = []
        self.read: list[Sample] = []
        self.sizes: list[tuple[int, int]] = []
        self.encodings: list[Encoding] = []
        self.fields: Counter[str] = Counter()
        self.with_fields = 0
        self.pictures: dict[bytes, list[Sample]] = defaultdict(list)
        self.likenesses = Likenesses()
        self.kind = ""
        self.headers: Mapping[int, tuple[Header, ...]] = {}
        self.issuers: frozenset[str] = frozenset()
        self._find_text = burned_text.find_engine()
        self.with_text: set[bytes] = set()
        self.text_unknown: set[bytes] = set()

    @property
    def finds_text(self) -> bool:
        """Whether burned-in text is looked for."""
        return self._find_text is not None

    def listing(self, listing: Listing) -> None:
        """Remember what was named; rows that could not be followed were named too."""
        self.samples, self.left_out = listing.samples, listing.left_out
        self.kind, self.headers = listing.kind, listing.headers
        self.issuers = listing.issuers.union({""}, (header.issuer for header in each_file(listing.headers)))
        self.names = find_names(listing)
        rows = {sample.row for sample in listing.samples}
        self.listed = len(rows.union(*(found for _, found in self.problems)))

    def problem(self, error: EmbhubError, rows: Sequence[int] = ()) -> None:
        """Remember it and let reading go on."""
        self.problems.append((error, tuple(rows)))

    def file(self, sample: Sample, image: Image.Image) -> None:
        """Look at format, depth and metadata."""
        self.encodings.append(describe(sample.path, image))
        fields = text_fields(image)
        self.fields.update(fields)
        self.with_fields += bool(fields)

    def stored(self, sample: Sample, encoding: Encoding) -> None:  # noqa: ARG002 (of whichever sample)
        """Remember it; a reader that knows its format has opened the file."""
        self.encodings.append(encoding)

    def picture(self, sample: Sample, image: Image.Image, digest: bytes) -> None:
        """Look at the size, and at what the picture resembles."""
        self.read.append(sample)
        self.sizes.append(image.size)
        if digest not in self.pictures:
            self.likenesses.add(image)
            if self._find_text is not None:
                self._look_for_text(self._find_text(image), digest)
        self.pictures[digest].append(sample)

    def _look_for_text(self, found: bool | None, digest: bytes) -> None:
        if found is None:
            self.text_unknown.add(digest)
        elif found:
            self.with_text.add(digest)

    def attempt(self, check: Callable[[], None]) -> None:
        """Remember what a check of `train` would raise."""
        try:
            check()
        except EmbhubError as error:
            self.problem(error)
