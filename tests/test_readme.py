"""What the README says is so: its Python runs, its commands parse, its table has the script's format."""

import importlib.util
import pathlib
import re
import shutil

import pytest

from ghostpad import cli

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def trained_here(episodes_folder, store, tmp_path, monkeypatch):
    """A working directory as the README's commands leave it, with a model that has hardly been trained."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(episodes_folder, "bulk_videos")
    few = "--steps 2 --batch-size 4 --model.quantizer.warmup-steps 1 --tracker none --device cpu"
    assert cli.main(["train", "--preset", "tiny", *few.split()]) == 0
    assert cli.main(["extract"]) == 0


def test_the_python_snippets_run(trained_here):
    namespace = {}
    assert blocks("python")
    for snippet in blocks("python"):
        exec(compile(snippet, "README.md", "exec"), namespace)


def commands():
    inline = re.findall(r"`(ghostpad [a-z]+ --[^`]+)`", README)
    shown = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("ghostpad ")]
    return [command for command in inline + shown if "VERB" not in command]


@pytest.mark.parametrize("command", commands())
def test_the_commands_are_understood(command, monkeypatch):
    import importlib

    done = []
    verb = cli.VERBS[command.split()[1]]
    module, _, name = verb.function.partition(":")
    monkeypatch.setattr(importlib.import_module(module), name, lambda config, **more: done.append(config))
    assert cli.main(command.split()[1:]) == 0
    assert len(done) == 1


def test_every_verb_is_explained():
    assert re.findall(r"^\| `ghostpad ([a-z]+)`", README, flags=re.MULTILINE) == list(cli.VERBS)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_into_the_repository_lead_somewhere(target):
    assert target.startswith("https://") or (ROOT / target).exists()


def test_make_has_the_two_commands():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert all(line.split()[1] in targets for line in blocks("sh")[0].splitlines())


def test_the_table_is_the_scripts():
    specification = importlib.util.spec_from_file_location(
        "readme_table", ROOT / "benchmarks" / "readme_table.py"
    )
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    ours = re.search(r"<!-- table -->\n(.*?)\n<!-- /table -->", README, flags=re.DOTALL)[1].splitlines()
    rows = {name: unit for name, unit, *_ in script.ROWS}
    assert re.fullmatch(r"\| \d+ held-out episodes, [\d,]+ transitions \| model \| copying \|", ours[0])
    assert ours[1] == "|---|---:|---:|"
    assert [line.split(" | ")[0].strip("| ") for line in ours[2:]] == list(rows)
    for line, unit in zip(ours[2:], rows.values(), strict=True):
        value = line.split(" | ")[1]
        assert re.fullmatch(rf"\d+\.\d+( {unit})?|-", value) if unit else re.fullmatch(r"\d+\.\d+|-", value)
