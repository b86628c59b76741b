"""The languages beside English: one catalogue of gettext each (`catalogues/CODE.po`), read when it is asked for.

Babel reads the catalogues and knows how a language writes dates and separators. It is an extra (`embhub[languages]`).
`make translations` brings the catalogues up to date with the English sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from embhub.errors import UsageError
from embhub.pages.messages import Day, Figure, Language, Message
from embhub.project import how_to_install

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog

CODES = ("de", "nl", "fr")


class Translation(Language):
    """A language with a catalogue; what is missing there is said in English.

    Args:
        code: one of CODES.
        catalogue: its messages.
    """

    def __init__(self, code: str, catalogue: Catalog) -> None:
        from babel.numbers import get_decimal_symbol, get_group_symbol

        self.code = code
        self._catalogue = catalogue
        self._separators = str.maketrans({".": get_decimal_symbol(code), ",": get_group_symbol(code)})

    def find(self, said: Message) -> str:
        """The sentence of the catalogue, without its values."""
        found = self._catalogue.get(said.english)
        if found is None or not found.string:
            return super().find(said)
        if not said.plural:
            return str(found.string)
        from gettext import c2py

        return str(found.string[c2py(self._catalogue.plural_expr)(said.number)])

    def write_figure(self, figure: Figure) -> str:
        """The digits of English, with this language's separators."""
        return figure.translate(self._separators)

    def write_day(self, day: Day) -> str:
        """A date with the month's name."""
        from babel.dates import format_date

        written = format_date(date.fromisoformat(day), "long", locale=self.code)
        first = self.code == "fr" and written.startswith("1 ")  # CLDR has no ordinal, French writes it
        return f"1er{written[1:]}" if first else written


def check(codes: Sequence[str]) -> None:
    """Refuse languages without a catalogue, and all of them where Babel is not installed.

    Args:
        codes: of the languages; English is none of them.

    Raises:
        UsageError: one is unknown, and the message lists those that are known; or Babel is not installed.
    """
    for code in codes:
        if code not in CODES:
            raise UsageError(f"no translation into {code!r}", f"known languages: {', '.join(CODES)}")
    if codes and find_spec("babel") is None:
        raise UsageError("translations need Babel, which is not installed", how_to_install("languages"))


@cache
def load(code: str) -> Translation:
    """A language by its code.

    Args:
        code: one of CODES.

    Raises:
        UsageError: as for `check`.
    """
    check([code])
    from importlib import resources

    from babel.messages.pofile import read_po

    source = resources.files(__package__).joinpath("catalogues", f"{code}.po")
    with source.open("rb") as stream:
        return Translation(code, read_po(stream, locale=code))
