"""Pages, help texts and templates are plain technical English: the field's words, and sentences under 30 words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from embhub.cli import root as embhub_cli
from embhub_registry.cli import root as registry_cli

ROOT = Path(__file__).parents[1]
LONGEST = 29  # words in a sentence
# A pattern to avoid, and what to write instead.
PATTERNS = {
    r"\b(?:kept|held|keeps?|keeping|holds?|holding)(?: \w+){0,2} back\b": "held out, held-out",
    r"\btaken? back\b": "yanked",
    r"\bof no use\b": "useless; or state the reason",
    r"\bgo(?:es|ing)? on with\b|\bgoes on\b": "continue, resume",
    r"\bso many\b": "a number, or 'that many'",
    r"\bfor whoever\b|\bto whoever\b": "for the person who",
    r"\btell(?:s|ing)?\b|\btold\b": "state, reveal, leak, distinguish, show",
    r"\bdraw(?:s|n|ings?)?\b(?! (?:at random|independently))|\bdrew\b": "generate; for random numbers: sample",
    r"\bsays? `?--": "pass --option",
    r"\banother house\b|\bown house\b|\bof the house\b": "another organisation",
    r"\bjournal\b": "audit log",
    r"\bnew words?\b": "placeholder token",
    r"\blearne?[dt]? rows\b|\brows? of numbers\b": "token embedding vectors",
    r"\bstands? (?:in(?! for)|on|under|beside)\b|\blies? (?:in|on|under|beside)\b": "is in, is under",
    r"\bin earnest\b": "in production, in real use",
    r"\bfew eyes\b": "few samples, low power",
    r"\bspeaks? of\b": "covers, applies to",
    r"\btakes? over\b": "import, accept",
    r"\bhands? (?:out|on|over)\b|\bhanded (?:out|on|over)\b": "serve, export, pass",
    r"\bis no good\b|\bare no good\b": "invalid",
    r"\ball the same\b": "nevertheless, still",
    r"\b(?:images?|patients?|steps?|units?|vectors?|targets?) a (?:side|step|patient|image|unit|page|file)\b": "per",
    r"\bput right\b": "fixed",
    r"\bluck of the draw\b": "sampling variance",
    r"\bphones?\b": "contact",
    r"\bpictures?\b": "image",
    r"\banybody can tell\b": "anyone can recognise",
}
# A sentence (not a question, not a heading) whose subject is a relative clause: "Who pulls ...".
RELATIVE_SUBJECT = re.compile(r"^(?:Who|Whoever|Whose) ")
# Pages that a program writes: their words are the program's.
GENERATED = {
    "docs/reference/admission-rules.md",
    "docs/reference/hub-conformance.md",
    "docs/explanation/training-defaults.md",
}


def pages() -> list[str]:
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted({str(path.relative_to(ROOT)) for path in found} - GENERATED)


def templates() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT))
        for top in ("embhub", "registry")
        for kind in ("*.html", "*.html.j2")
        for path in (ROOT / top).rglob(kind)
    )


def prose(markdown: str) -> str:
    """A page without code, comments, generated tables and addresses; a piece of code inside a sentence is one word."""
    text = re.sub(r"<!-- measured: begin -->.*?<!-- measured: end -->", "", markdown, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"^( *)```.*?^\1```[^\n]*$", "", text, flags=re.S | re.M)
    text = re.sub(r"(?<=\n)\n(?: {4,}\S[^\n]*\n)+", "\n", text)
    text = re.sub(r"!?\[((?:[^\]]|\](?!\())*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", "CODE", text)


def sentences(markdown: str) -> Iterator[str]:
    """The sentences of paragraphs and list items; tables and headings left out."""
    lines = [line for line in prose(markdown).splitlines() if not line.lstrip().startswith(("|", "#"))]
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))
    for paragraph in paragraphs:
        flat = re.sub(r"^(?:[-*]|\d+\.) ", "", " ".join(paragraph.split()))
        yield from (part for part in re.split(r"(?<=[.!?])[*)_]* +(?=[A-Z*(_\"‘“]|embhub)", flat) if part)


def visible(template: Path) -> str:
    """The text of an HTML template, without tags, styles, scripts and template code."""
    text = re.sub(r"<(style|script|code|pre)\b.*?</\1>", " ", template.read_text(), flags=re.S)
    return re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", text, flags=re.S)


def findings(text: str) -> list[str]:
    """What the word list objects to in a text."""
    return [
        f"{found.group()!r}: write {instead}"
        for pattern, instead in PATTERNS.items()
        for found in re.finditer(pattern, " ".join(text.split()), re.I)
    ]


def problems(markdown: str) -> list[str]:
    """All objections to one page."""
    found = findings(prose(markdown))
    for sentence in sentences(markdown):
        words = sum(bool(re.search(r"\w", word)) for word in sentence.split())
        if words > LONGEST:
            found.append(f"{words} words: {sentence}")
        if RELATIVE_SUBJECT.match(sentence.lstrip("*_(")) and not sentence.rstrip("*_)").endswith("?"):
            found.append(f"a relative clause as subject: {sentence}")
    return found


def helps(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Every help text below a command: its own, its options', its subcommands'."""
    yield name, inspect.cleandoc(command.help or "")  # before Python 3.13 a docstring is indented, as code is
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield f"{name} {parameter.opts[0]}", parameter.help or ""
    if isinstance(command, click.Group):
        for sub in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), sub)
            assert found is not None
            yield from helps(found, f"{name} {sub}")


HELPS = dict([*helps(embhub_cli, "embhub"), *helps(registry_cli, "embhub-registry")])


@pytest.mark.parametrize("page", pages())
def test_a_page_is_plain_english(page: str) -> None:
    assert problems((ROOT / page).read_text()) == []


def test_every_help_text_is_plain_english() -> None:
    assert len(HELPS) > 500 and all(HELPS.values())
    found = {name: problems(text.partition("Example:")[0]) for name, text in HELPS.items()}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("template", templates())
def test_a_template_is_plain_english(template: str) -> None:
    assert findings(visible(ROOT / template)) == []


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("The word is told to nobody.", "told"),
        ("Images were held back.", "held-out"),
        ("It goes on with the next step.", "resume"),
        ("Who pulls an embedding verifies it.", "relative clause"),
        ("| a | the model draws it |", "generate"),
        (" ".join(["word"] * 30) + ".", "30 words"),
    ],
)
def test_the_check_finds_what_it_should(text: str, objection: str) -> None:
    assert any(objection in found for found in problems(text))


def test_the_check_leaves_code_questions_and_addresses_alone() -> None:
    page = "# Who can do what\n\n```\nheld back\n```\n\nRun `tell` here. Who signs it? See [the page](draw-with.md).\n"
    page += "\n<!-- measured: begin -->\n| loss kept back |\n<!-- measured: end -->\n\n    embhub draw\n"
    assert problems(page) == []
