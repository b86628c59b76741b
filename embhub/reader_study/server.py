"""The pages of a study, for readers at this machine. Nothing here names a case's kind before the study is over."""

from __future__ import annotations

import random
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from embhub.errors import UsageError
from embhub.pages.loopback import LoopbackHandler, LoopbackServer
from embhub.reader_study import ratings
from embhub.reader_study.ratings import ROLES, Rating, Reader
from embhub.reader_study.study import Study, case_file, new_name, read_study

_READER = "embhub-reader"


class StudyServer(LoopbackServer):
    """Serves one study's folder until it is shut down.

    Args:
        folder: the study.
        port: 0 for a free one.

    Raises:
        UsageError: there is no study, or the port is taken.
        ConfigError: the study is damaged.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder, self.study = folder, read_study(folder)
        ratings.read(folder, self.study)
        super().__init__(_Handler, port=port)


class _Handler(LoopbackHandler):
    package = "embhub.reader_study"
    access = "embhub-study"
    server: StudyServer

    def show_page(self, path: str) -> None:
        """The page of the reader's next case, or an image."""
        if path == "/":
            self._show_next()
        else:
            self._send_image(path)

    def take_form(self, path: str, form: Mapping[str, str]) -> str | None:
        """Begin as a reader, or rate a case."""
        study, folder = self.server.study, self.server.folder
        if path == "/begin":
            reader = new_name()
            ratings.add(folder, study, Reader.model_validate({"reader": reader, "role": form.get("role")}))
            return f"{_READER}={reader}"
        if path != "/rate":
            raise UsageError("there is no such form", "open the study's address again")
        said = {"reader": self.cookie(_READER), "case": form.get("case"), "origin": int(form.get("origin", ""))}
        ratings.add(folder, study, Rating.model_validate(said | {"finding": form.get("finding")}))
        return None

    def _show_next(self) -> None:
        study, reader = self.server.study, self.cookie(_READER)
        answers = ratings.read(self.server.folder, study)
        if reader not in answers.roles:
            self.show("begin.html.j2", roles=ROLES, images=len(study.cases), finding=study.finding)
            return
        open_cases = [name for name in order(study, reader) if name not in answers.ratings[reader]]
        if not open_cases:
            self.show("done.html.j2", images=len(study.cases))
            return
        number = len(study.cases) - len(open_cases) + 1
        self.show("case.html.j2", case=open_cases[0], number=number, images=len(study.cases), finding=study.finding)

    def _send_image(self, path: str) -> None:
        names = {f"/cases/{case.name}.png": case.name for case in self.server.study.cases}
        if path not in names:
            self.show_problem("there is nothing at this address", HTTPStatus.NOT_FOUND)
            return
        try:
            data = case_file(self.server.folder, names[path]).read_bytes()
        except OSError:
            self.show_problem("the image is gone", HTTPStatus.NOT_FOUND)
            return
        self.send(data, "image/png", HTTPStatus.OK)


def order(study: Study, reader: str) -> list[str]:
    """The cases in this reader's own random order, the same each time the page is opened."""
    names = sorted(case.name for case in study.cases)
    random.Random(f"embhub reader study {reader}").shuffle(names)  # noqa: S311  (an order, no secret)
    return names
