"""The README lists every verb and the two commands, and its table has the script's format."""

import importlib.util
import pathlib
import re
import tomllib

from ghostpad import cli

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_every_verb_is_explained():
    assert re.findall(r"^\| `ghostpad ([a-z]+)`", README, flags=re.MULTILINE) == list(cli.VERBS)


def test_make_has_the_two_commands():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert all(line.split()[1] in targets for line in blocks("sh")[0].splitlines())


def test_the_table_of_games_has_the_numbers_of_its_page():
    page = (ROOT / "docs/games.md").read_text()
    rows = re.search(r"<!-- games -->\n(.*?)\n<!-- /games -->", README, flags=re.DOTALL)[1].splitlines()[2:]
    assert len(rows) == 12
    for row in rows:
        game, *shown = (cell.strip() for cell in row.strip("|").split("|"))
        measured = re.search(rf"^\| {game} \|(.*)\|$", page, flags=re.MULTILINE)[1].split("|")
        assert shown == [measured[column].strip() for column in (0, 2, 3, 5, 7, 10)]


def test_the_table_of_extras_is_complete():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)} == {*extras} - {"minari"}


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
