"""Pages of the documentation site that are made from other files: a hook of MkDocs (see mkdocs.yml).

The README, the changelog and other files outside docs/ become pages, with their links rewritten; notebooks
become pages and .ipynb files; every verb's own `--help` becomes a section of the page on the command line.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "src/ghostpad/weights/breakout-sharp/MODEL_CARD.md": "models/breakout-sharp.md",
    "src/ghostpad/weights/breakout-world/MODEL_CARD.md": "models/breakout-world.md",
}
"""Files outside docs/ that are pages, and their addresses in the site."""
SHOWN = {
    "LICENSE": "license.md",
    "CITATION.cff": "citation.md",
    **{f"examples/{path.name}": f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")},
}
"""Files that are shown as they are, for links that lead to them."""
ASSETS = {
    "src/ghostpad/theme.css": "stylesheets/theme.css",
    "src/ghostpad/play/static/icon.svg": "images/favicon.svg",
}
"""Files of the package that the site's pages load."""
NOTEBOOKS = {f"docs/notebooks/{path.name}": path for path in (ROOT / "docs/notebooks").glob("*.py")}
_ADDRESSES = {**PAGES, **SHOWN, **{source: f"notebooks/{path.stem}.md" for source, path in NOTEBOOKS.items()}}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in docs/."""
    pages = {page: relinked((ROOT / source).read_text(), source, page) for source, page in PAGES.items()}
    pages |= {page: shown(source) for source, page in SHOWN.items()}
    pages["cli.md"] = command_line()
    for path in NOTEBOOKS.values():
        notebook = jupytext.read(path)
        pages[f"notebooks/{path.stem}.ipynb"] = jupytext.writes(notebook, fmt="ipynb")
        pages[f"notebooks/{path.stem}.md"] = notebook_page(path.stem, notebook.cells)
    pages |= {asset: (ROOT / source).read_text() for source, asset in ASSETS.items()}
    for page, text in pages.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:
    """Lead links of pages in docs/ to files outside it to the pages made from them."""
    source: File = page.file  # type: ignore[attr-defined]
    if source.generated_by:
        return markdown
    return relinked(markdown, f"docs/{source.src_uri}", source.src_uri)


def relinked(text: str, source: str, page: str) -> str:
    """The text of a file of the repository with its links as they are between pages of the site.

    Args:
        text: Markdown.
        source: where it is from, relative to the repository.
        page: its address, relative to docs/.
    """

    def replaced(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = os.path.normpath(Path(source).parent / target)
        address = _ADDRESSES.get(path) or path.removeprefix("docs/")
        return f"{before}{os.path.relpath(address, Path(page).parent)}{anchor or ''}{after}"

    return _LINK.sub(replaced, text)


def notebook_page(name: str, cells: list[Any]) -> str:
    """A notebook's cells as a page, with a link to the notebook itself."""
    parts = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```" for cell in cells
    ]
    return "\n\n".join([*parts, f"[Download this notebook]({name}.ipynb)"])


def shown(source: str) -> str:
    """A page with the content of a file that is not Markdown."""
    language = {".py": "python", ".cff": "yaml"}.get(Path(source).suffix, "text")
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {Path(source).name}\n\n"
    return f"{head}``````{language}\n{(ROOT / source).read_text()}\n``````\n"


def command_line() -> str:
    """The page on the command line: what `ghostpad --help` and every verb's `--help` print."""
    from ghostpad.verbs import VERBS

    sections = [
        "# Command line\n\nThis page holds what the program itself prints. A field of a nested group is set "
        "by its dotted name, as in `--model.quantizer.codebook-size 512`.\n",
        f"```text\n{_help()}```\n",
    ]
    for name, verb in VERBS.items():
        summary = f"{verb.summary[0].upper()}{verb.summary[1:]}."
        sections.append(f"## ghostpad {name}\n\n{summary}\n\n```text\n{_help(name)}```\n")
    return "\n".join(sections)


def _help(*verb: str) -> str:
    """What `ghostpad VERB --help` prints, 80 columns wide and without frames around the groups."""
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "ghostpad", *verb, "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    lines = (re.sub(r"^[│╭╰] ?|[│╮╯─]+$", "", line).rstrip(" ─") for line in printed.splitlines())
    return "\n".join(lines).strip("\n") + "\n"
