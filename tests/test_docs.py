"""README and documentation: links lead somewhere, commands parse, Python runs, and notebooks run."""

import importlib.util
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import pytest

from ghostpad import cli
from ghostpad.verbs import VERBS, load

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    path
    for path in sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
    if path.parent.name != "api"
]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.py"))
RUN = ["README.md", *(f"docs/tutorials/{name}.md" for name in ("breakout", "own-video", "imitation"))]
"""Pages whose Python runs after their commands; that of other pages is compiled."""


def named(pages):
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


def blocks(page, language):
    """The fenced blocks of a page, those inside of tabs too."""
    found = re.finditer(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(match[2]) for match in found]


def shell_lines():
    """(page, line) of every command in a block and, in the README, of commands with options in its text."""
    for page in PAGES:
        shown = [line for block in blocks(page, "sh") for line in block.splitlines()]
        if page.name == "README.md":
            shown += re.findall(r"`(ghostpad [a-z]+ --[^`]+)`", page.read_text())
        for line in shown:
            yield page.relative_to(ROOT), line


def commands(program):
    lines = [(page, line) for page, line in shell_lines() if line.split()[:1] == [program]]
    return [pytest.param(line, id=f"{page}: {line}") for page, line in dict.fromkeys(lines)]


@pytest.mark.parametrize("command", commands("ghostpad"))
def test_a_command_is_understood(command, monkeypatch):
    verb, *options = shlex.split(command, comments=True)[1:]
    if verb == "help" or options == ["--help"]:
        return
    configs = []
    monkeypatch.setattr(
        cli,
        "load",
        lambda reference: configs.append if reference == VERBS[verb].function else load(reference),
    )
    assert not cli.main([verb, *options])
    assert len(configs) == 1


@pytest.mark.parametrize("command", commands("make"))
def test_make_has_the_target(command):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(shlex.split(command, comments=True)[1:]) <= {*targets}


@pytest.mark.parametrize("command", commands("python"))
def test_a_script_exists(command):
    script = shlex.split(command)[1]
    assert script == "-m" or (ROOT / script).is_file()


def anchors(page):
    """The addresses of the headings of a page, as GitHub and MkDocs make them."""
    prose = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", named(PAGES))
def test_links_within_the_repository_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if target.startswith(("https://", "http://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.is_file() or path.is_dir(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", named(page for page in PAGES if blocks(page, "python")))
def test_python_snippets_compile(page):
    for snippet in blocks(page, "python"):
        compile(snippet, page, "exec")


@pytest.fixture(scope="module")
def after_the_commands(episodes_folder, store, tmp_path_factory):
    """A working directory as the commands leave it, with a model that has hardly been trained."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(episodes_folder, "bulk_videos")
        few = "--steps 2 --batch-size 4 --model.quantizer.warmup-steps 1 --tracker none --device cpu"
        assert cli.main(["train", "--preset", "tiny", *few.split()]) == 0
        assert cli.main(["extract", "--buttons", "--num-buttons", "2"]) == 0
    return folder


@pytest.mark.parametrize("page", RUN)
def test_python_snippets_run(page, after_the_commands, monkeypatch):
    monkeypatch.chdir(after_the_commands)
    namespace = {}
    assert blocks(ROOT / page, "python")
    for snippet in blocks(ROOT / page, "python"):
        exec(compile(snippet.replace("range(200)", "range(2)"), page, "exec"), namespace)


def test_the_snippet_about_a_world_as_an_environment_runs(monkeypatch, tmp_path):
    pytest.importorskip("gymnasium")
    monkeypatch.chdir(tmp_path)
    (snippet,) = blocks(ROOT / "docs/tutorials/play-and-share.md", "python")
    exec(compile(snippet.replace("range(10)", "range(2)"), "play-and-share.md", "exec"), {})


SLOW = ["labels_and_policy.py"]


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, id=path.name, marks=pytest.mark.slow if path.name in SLOW else ())
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(notebook, tmp_path, monkeypatch):
    pytest.importorskip("ale_py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    exec(compile(notebook.read_text(), notebook, "exec"), {"__name__": "notebook"})


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    if importlib.util.find_spec("material") is None:
        pytest.skip("needs the extra docs")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    subprocess.run(build, check=True, cwd=ROOT)
    for path in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]:
        loaded = re.findall(
            r"<(?:script|img|iframe|source)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?(?:https?:)?//"
            r"|url\([\"']?(?:https?:)?//|@import",
            path.read_text(),
        )
        assert not loaded, path
