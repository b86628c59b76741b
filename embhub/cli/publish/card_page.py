"""The form of `embhub card edit`: a card's open questions, and what was answered, as a page of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from embhub.cards.answers import BY_PEOPLE, example, read, write
from embhub.cards.card_schema import FIELDS
from embhub.cards.radlex import Term, terms
from embhub.errors import UsageError
from embhub.pages.loopback import LoopbackHandler, LoopbackServer

if TYPE_CHECKING:
    from embhub.diffusion.outputs import Drafted

SHORT = frozenset({"licence", "licence_link", "sequence", "view", "publisher", "contact_role", "synthetic_data"})
"""Fields of plain text that take a line, not a paragraph."""


@dataclass(frozen=True)
class Item:
    """One field of the form: what stands in it, and why that was not taken, if it was not; `terms` are known words,
    and `proposed` is what caption and base say."""

    name: str
    meaning: str
    example: str
    typed: str
    refused: str
    is_long: bool
    terms: tuple[Term, ...]
    proposed: str


class CardServer(LoopbackServer):
    """Serves the form of one card.

    Args:
        drafted: the card's file, and what is open in it.
        port: 0 for a free one.

    Attributes:
        drafted: the card as it stands after the last answer.
        refused: what was typed for a field and not taken, with the reason.
        is_finished: whether a person said so.
    """

    def __init__(self, drafted: Drafted, *, port: int = 0) -> None:
        self.drafted = drafted
        self.refused: dict[str, tuple[str, str]] = {}
        self.is_finished = False
        self.writing = threading.Lock()
        super().__init__(_Handler, port=port)

    def serve_until_finished(self) -> None:
        """Until a person finishes on the page, or Ctrl-C."""
        with suppress(KeyboardInterrupt):
            self.serve_forever(poll_interval=0.1)

    def save(self, form: Mapping[str, str]) -> None:
        """Write into the card what is an answer, and keep what is none, with the reason."""
        from embhub.diffusion.outputs import answer_card

        answers: dict[str, Any] = {}
        with self.writing:
            shown = {item.name: item for item in (*self.open_items(), *self.answered_items())}
            typed_in = {name: form[name].replace("\r\n", "\n").strip() for name in shown.keys() & form.keys()}
            taken = {name: item.proposed for name, item in shown.items() if f"take-{name}" in form}
            for name, typed in (taken | typed_in).items():
                if typed == shown[name].typed and not shown[name].refused:
                    continue
                self.refused.pop(name, None)
                try:
                    answers[name] = read(name, typed)
                except ValueError as error:
                    self.refused[name] = typed, str(error)
            confirmed = [name for name in self.drafted.unconfirmed if f"confirm-{name}" in form]
            self.drafted = answer_card(self.drafted, answers, confirmed)

    def open_items(self) -> Iterator[Item]:
        """What a person must still say."""
        for question in self.drafted.questions:
            name, _, meaning = question.partition(": ")
            yield self._item(name, meaning, "")

    def to_confirm(self) -> list[tuple[str, str]]:
        """Answers of the site that are to be confirmed: names, and what they say."""
        return [(name, str(self._values().get(name.partition(".")[0]))) for name in self.drafted.unconfirmed]

    def answered_items(self) -> Iterator[Item]:
        """What people answered, and the optional fields that nobody did."""
        values, still_open = self._values(), {question.partition(": ")[0] for question in self.drafted.questions}
        for name in BY_PEOPLE:
            said = write(name, values[name]) if name in values else ""
            if name not in still_open and said is not None:
                yield self._item(name, FIELDS[name], said)

    def _item(self, name: str, meaning: str, said: str) -> Item:
        typed, refused = self.refused.get(name, (said, ""))
        is_long = not example(name) and "." not in name and name not in SHORT
        value = self.drafted.proposed.get(name)
        proposed = "" if value is None else write(name, value) or ""
        return Item(name, meaning, example(name), typed, refused, is_long, terms(name), proposed)

    def _values(self) -> dict[str, Any]:
        from embhub.diffusion.outputs import read_answers

        return read_answers(self.drafted.path)


class _Handler(LoopbackHandler):
    package = "embhub.cli"
    access = "embhub-card"
    largest_form = 400_000
    most_fields = 100
    server: CardServer

    def show_page(self, path: str) -> None:
        """The form, or that it is finished."""
        server = self.server
        if path != "/":
            self.show_problem("there is nothing at this address", HTTPStatus.NOT_FOUND)
        elif server.is_finished:
            self.show("done.html.j2", file=server.drafted.path.name)
            threading.Thread(target=server.shutdown).start()
        else:
            self.show(
                "card.html.j2", file=server.drafted.path.name, open=list(server.open_items()),
                confirm=server.to_confirm(), answered=list(server.answered_items()),
            )  # fmt: skip

    def take_form(self, path: str, form: Mapping[str, str]) -> str | None:
        """Save, and end where the button says so and nothing was refused."""
        if path != "/save":
            raise UsageError("there is no such form", "open the address again")
        self.server.save(form)
        self.server.is_finished = "finish" in form and not self.server.refused
        return None
