"""Sentences that a page can show in several languages: English text with named values. Pure, and without any library.

The English sentence is the key of its translations, as in gettext. `Language` here is English itself;
`embhub.evidence.languages` makes the others. Values never hold a format: a figure is written once, in English, and
another language exchanges its separators, so that no language can round it differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Union

Value = Union[str, "Message"]


class Figure(str):
    """A number as English writes it, such as `1,234.5`."""


class Day(str):
    """A date as ISO 8601 writes it, such as `2026-11-20`."""


class Message(NamedTuple):
    """A sentence, or a part of one, that is translated when it is shown; `plural` and `number` where it counts."""

    english: str
    values: Mapping[str, Value]
    plural: str = ""
    number: int = 1


def message(english: str, /, **values: Value) -> Message:
    """A message with values for its `{placeholders}`."""
    return Message(english, values)


def counted(one: str, many: str, number: int, /, **values: Value) -> Message:
    """A message about a number of things; `{number}` is the number.

    Args:
        one: the sentence for a single thing.
        many: the sentence for any other number.
        number: how many.
        values: of the other placeholders.
    """
    return Message(one, {"number": count(number), **values}, many, number)


def mark(english: str) -> str:
    """The text itself, found by whoever collects what has to be translated."""
    return english


def figure(value: float, form: str) -> Figure:
    """A number in a format of Python, such as `.2g`."""
    return Figure(format(value, form))


def count(value: int) -> Figure:
    """A whole number in groups of three digits."""
    return figure(value, ",")


class Language:
    """English; other languages replace the three methods that begin with `find` and `write`."""

    code = "en"

    def say(self, text: str | Message, /, **values: Value) -> str:
        """A message in this language.

        Args:
            text: the message, or English text with `{placeholders}`.
            values: of the placeholders, where `text` is no message.
        """
        said = text if isinstance(text, Message) else Message(text, values)
        found = self.find(said)
        if not said.values:  # it may be a card's or a report's text, whose braces are its own
            return found
        return found.format(**{name: self._write(value) for name, value in said.values.items()})

    def find(self, said: Message) -> str:
        """The sentence without its values."""
        return said.plural if said.plural and said.number != 1 else said.english

    def write_figure(self, figure: Figure) -> str:
        """A number with this language's separators."""
        return str(figure)

    def write_day(self, day: Day) -> str:
        """A date."""
        return str(day)

    def _write(self, value: Value) -> str:
        if isinstance(value, Message):
            return self.say(value)
        if isinstance(value, Figure):
            return self.write_figure(value)
        return self.write_day(value) if isinstance(value, Day) else value


ENGLISH = Language()
