"""Render HTML and SVG templates: autoescape, strict names, one stylesheet, no script and no external resource."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

_HERE = __package__
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def render(package: str, template: str, **facts: Any) -> Markup:
    """Fill in a template.

    All text is escaped. Control characters and bidirectional controls (Unicode TR 9), which can make text look like
    something else, are shown as U+FFFD.

    Args:
        package: the dotted name of the package whose `templates` folder holds the template.
        template: its file name, `NAME.html.j2` or `NAME.svg.j2`; it may extend or import one of `embhub.pages`.
        facts: what the template may name. A name that is missing is an error.

    Returns:
        The text, marked as safe, so that one rendered template can be shown inside another.

    Raises:
        jinja2.TemplateError: there is no such template, or it names a fact that was not given.
    """
    from markupsafe import Markup

    return Markup(_environment(package).get_template(template).render(facts))  # noqa: S704  (autoescaped above)


@cache
def _environment(package: str) -> jinja2.Environment:
    import jinja2
    from markupsafe import Markup

    own, shared = (jinja2.PackageLoader(name) for name in (package, _HERE))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([own, shared]), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, finalize=_reveal,
    )  # fmt: skip
    environment.filters["fixed"] = lambda value, digits: f"{value:.{digits}f}"
    environment.filters["signed"] = lambda value, digits: f"{value:+.{digits}f}"
    environment.filters["general"] = lambda value, digits=6: f"{value:.{digits}g}"
    environment.filters["percent"] = lambda share, digits=0: f"{share * 100:.{digits}f}\N{NO-BREAK SPACE}%"
    environment.filters["thousands"] = lambda value: f"{value:,}"
    css = resources.files(_HERE).joinpath("templates", "page.css").read_text(encoding="utf-8")
    environment.globals["stylesheet"] = Markup(css)  # noqa: S704  (our own file)
    return environment


def _reveal(value: Any) -> Any:
    """Replace hidden characters of plain text; rendered templates were treated already."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _HIDDEN.sub(_REPLACEMENT, value)
    return value
