"""What MkDocs does beside building the pages of docs/; `mkdocs.yml` names this file as its hook.

The site has pages that are no files of docs/: README.md as its home, the changelog, the benchmarks, the rules for contributors,
and the API reference from the docstrings. Links between files of the repository become links within the site. A linked file
that is no page, a table or a script for instance, is copied into it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import adv_networks
from adv_networks.experiments import ATTACKS, METHODS
from flags import usage

ROOT = Path(__file__).resolve().parents[1]

# Pages of the site by the file of the repository that they show.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
PACKAGES = ("attacks", "defences", "evaluation", "experiments", "data", "training", "networks", "tables", "runtime", "errors")
_LINK = re.compile(r"(?P<before>\]\(|(?:src|srcset)=\")(?P<target>[^)\s\"]+)")


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are no files of docs/, and the files that pages link to."""
    from mkdocs.structure.files import File

    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=rewritten(text, source)))
    files.append(File.generated(config, "api.md", content=api()))
    sources = [*PAGES, *(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))]
    for source in sources:
        for target in linked(source):
            place = f"files/{target}"
            if files.get_file_from_path(place) is None:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Puts the site's links into a page of docs/, and the tables of what there is."""
    if page.file.src_uri in (*PAGES.values(), "api.md"):
        return markdown
    text = rewritten(markdown, f"docs/{page.file.src_uri}")
    for name, lines in (("flags", flags), ("attacks", attacks), ("defences", defences)):
        text = text.replace(f"<!-- {name} -->", lines())
    return text


def rewritten(text: str, source: str) -> str:
    """A file's Markdown with links as the site has them."""
    here = posixpath.dirname(PAGES.get(source, source.removeprefix("docs/")))

    def link(match: re.Match[str]) -> str:
        place = placed(match["target"], source)
        return match[0] if place is None else match["before"] + posixpath.relpath(place, here or ".")

    return _LINK.sub(link, text)


def placed(target: str, source: str) -> str | None:
    """Where the site has what a file links to; None for an address, and for a place in the same page."""
    path, _, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return None
    found = _found(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
    page = PAGES.get(found) or (found.removeprefix("docs/") if found.startswith("docs/") else f"files/{found}")
    return page + f"#{anchor}" * bool(anchor)


def _found(path: str) -> str:
    """The file that a path of the repository stands for: of a directory what one would open there."""
    if not (ROOT / path).is_dir():
        return path
    return next(
        f"{path}/{name}" for name in ("README.md", "report.html", "claims.md", "records.csv") if (ROOT / path / name).exists()
    )


def linked(source: str) -> list[str]:
    """The files that one links to and that are no pages, as paths of the repository."""
    text = (ROOT / source).read_text(encoding="utf-8")
    places = (placed(match["target"], source) for match in _LINK.finditer(text))
    return [place.partition("#")[0].removeprefix("files/") for place in places if place and place.startswith("files/")]


def flags() -> str:
    """The flags' tables."""
    return usage.as_markdown().partition("\n\n")[2].partition("\n\n")[2]


def attacks() -> str:
    """A table of the attacks by name."""
    rows = [
        (f"`{name}`", declared.title, " ".join(f"`{argument}={_default(declared, argument)}`" for argument in declared.fields))
        for name, declared in ATTACKS.items()
    ]
    return table(("name", "what it is", "arguments"), rows)


def _default(declared: Any, argument: str) -> Any:
    return declared.arguments.get(argument, declared.fields[argument].default)


def defences() -> str:
    """A table of the methods by name."""
    rows = [(f"`{name}`", method.letter, method.title) for name, method in METHODS.items()]
    return table(("method", "letter", "what it is"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)


def api() -> str:
    """The page of the API: what its packages offer, from their docstrings."""
    parts = [
        "# API reference",
        f"Version {adv_networks.__version__}. Everything below is public; a name with an underscore is not.",
    ]
    for package in PACKAGES:
        parts += [f"## adv_networks.{package}", f"::: adv_networks.{package}\n    options:\n      heading_level: 3"]
    return "\n\n".join(parts) + "\n"
