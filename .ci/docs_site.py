"""What mkdocs has no setting for: navigation by folder, links that leave docs/, a page for each public name.

mkdocs loads this file as a hook (mkdocs.yml). Pages that are made here exist in the built site only.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "registry")]

from embhub.cli.this_machine import reference  # noqa: E402  # of this tree
from embhub_registry.cli import root as registry_cli  # noqa: E402

SECTIONS = {
    "Tutorial": "tutorial",
    "How-to": "how-to",
    "Explanation": "explanation",
    "Reference": "reference",
    "Python": "python",
    "Notebooks": "notebooks",
    "Decisions": "adr",
    "Project": "project",
}
"""Tabs of the site, and the folder of each."""
PROJECT = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")
API_PAGE = "reference/python-api.md"
REGISTRY_HEAD = """# The commands of `embhub-registry`

Written from the commands: the same as `embhub-registry COMMAND --help`. What `--json` prints, roles, settings and exit
codes are on [the page of the operator's command line](registry-cli.md).
"""
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")
LANGUAGES = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".json": "json", ".conf": "nginx", ".cff": "yaml"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Navigation: a tab for each folder, its pages by name; pages at the top of docs/ come first."""
    docs = Path(config.docs_dir)
    top = [page.name for page in sorted(docs.glob("*.md")) if page.name != "README.md"]
    nav: list[Any] = [{"Home": ["README.md", *top]}]
    made = _made_pages()
    for title, folder in SECTIONS.items():
        pages = [f"{folder}/{page.name}" for page in sorted((docs / folder).glob("*.md"))]
        pages += [place for place in made if place.startswith(f"{folder}/")]
        pages.sort(key=lambda place: (not place.endswith(("README.md", "index.md")), place))
        nav.append({title: pages})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and one for each file outside docs/ that a page links to."""
    for place, content in _made_pages().items():
        files.append(File.generated(config, place, content=content))
    outside: set[Path] = set()
    for file in list(files.documentation_pages()):
        home = _home_of(file.src_uri)
        for _, target, _ in LINK.findall(file.content_string):
            if (path := _outside(home, target)) and path.is_file() and path.suffix != ".md":
                outside.add(path)
    for path in sorted(outside):
        page = File.generated(config, _source_page(path), content=_listing(path))
        page.inclusion = page.inclusion.NOT_IN_NAV
        files.append(page)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ to the pages made for them; a link to a folder becomes its text."""
    del config
    home, here = _home_of(page.file.src_uri), page.file.src_uri

    def point(link: re.Match[str]) -> str:
        text, target, anchor = link.group(1), link.group(2), link.group(3) or ""
        path = _outside(home, target)
        if path is None:
            return link.group(0)
        place = _place_of(path)
        if files.get_file_from_path(place) is None:
            return f"{text[1:-1]} (`{path.relative_to(ROOT)}`)"
        return f"{text}({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    if here == API_PAGE:
        markdown = re.sub(r"^\| `(\w+)` \|", r"| [`\1`](../python/\1.md) |", markdown, flags=re.M)
    return LINK.sub(point, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Remove the script host that the theme would ask for diagrams, and the source maps."""
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix == ".map":
            path.unlink()
        elif path.suffix == ".js":
            text = path.read_text()
            path.write_text(text.replace("https://unpkg.com/", "").replace("sourceMappingURL=", "removed="))


def _home_of(place: str) -> Path:
    """The folder that relative links of a page start from: that of the file which the page was made from."""
    if place.startswith("project/"):
        return ROOT
    if place.startswith("notebooks/"):
        return ROOT / "examples/notebooks"
    return (ROOT / "docs" / place).parent


def _outside(home: Path, target: str) -> Path | None:
    """The file that a relative link means, where it is not beside the page in docs/."""
    if "://" in target or target.startswith("mailto:"):
        return None
    path = Path(os.path.normpath(home / target))
    docs = ROOT / "docs"
    if home.is_relative_to(docs) and path.is_relative_to(docs):
        return None
    return path if path.exists() else None


def _place_of(path: Path) -> str:
    """The page of the site that stands for a file."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name in PROJECT:
        return f"project/{name}"
    if path.suffix == ".ipynb":
        return f"notebooks/{path.stem}.md"
    return _source_page(path)


def _source_page(path: Path) -> str:
    return f"source/{path.relative_to(ROOT).as_posix()}.md"


def _listing(path: Path) -> str:
    fence = "`" * 6
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT)}\n\n{fence}{language}\n{path.read_text().rstrip()}\n{fence}\n"


def _made_pages() -> dict[str, str]:
    """Pages that are in the site only, by place."""
    pages = {f"project/{name}": (ROOT / name).read_text() for name in PROJECT}
    for path in sorted((ROOT / "examples/notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = _notebook(path)
    pages["reference/cli.md"] = reference.render()
    pages["reference/registry-commands.md"] = reference.render(registry_cli, "embhub-registry", REGISTRY_HEAD)
    return pages | _python_pages()


def _notebook(path: Path) -> str:
    """A notebook as a page: its text and code, without outputs, which it is stored without."""
    cells = json.loads(path.read_text())["cells"]
    parts = ["".join(cell["source"]) for cell in cells]
    shown = [
        part if cell["cell_type"] == "markdown" else f"```python\n{part}\n```"
        for cell, part in zip(cells, parts, strict=True)
    ]
    return "\n\n".join([*shown, f"The notebook: `{path.relative_to(ROOT)}`."]) + "\n"


def _python_pages() -> dict[str, str]:
    """A page for each public name, and for the classes that those names return."""
    import embhub

    pages = {}
    for name in embhub.__all__:
        thing = getattr(embhub, name)
        others = "".join(f"\n\n::: {place}" for place in RETURNED.get(name, ()))
        others += _fields(thing) if hasattr(thing, "model_fields") else ""
        pages[f"python/{name}.md"] = f"# embhub.{name}\n\n::: {thing.__module__}.{thing.__qualname__}{others}\n"
    return pages


def _fields(model: Any) -> str:
    """A table of a model's fields: their descriptions stand in the fields, not in a docstring."""
    rows = [f"| `{name}` | {field.description or ''} |" for name, field in model.model_fields.items()]
    return "\n".join(["\n\n## Fields\n", "| field | meaning |", "|---|---|", *rows]) + "\n"


RETURNED = {
    "Hub": ("embhub.client.wire.hub.Account", "embhub.client.wire.hub.Receipt", "embhub.client.wire.listings.Listing"),
    "push": ("embhub.client.publishing.push.Pushed",),
    "sign": ("embhub.client.publishing.push.Signed",),
    "train": ("embhub.diffusion.train.TrainResult",),
    "interpolate": ("embhub.diffusion.generation.interpolation.Series",),
    "EmbhubError": (
        "embhub.errors.UsageError",
        "embhub.errors.ArtifactError",
        "embhub.errors.VerificationError",
        "embhub.errors.RegistryError",
        "embhub.errors.PrivacyError",
        "embhub.errors.ConfigError",
        "embhub.errors.PolicyError",
    ),
}
"""Classes that stand on the page of the name which gives them."""
