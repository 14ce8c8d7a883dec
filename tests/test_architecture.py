"""Layers import downward, the package keeps to its bounds and vocabulary, and every option does something."""

import ast
import importlib.util
import pathlib
import re

import pytest

from ghostpad.games import GAMES


def load_house():
    """The script that prints the same bounds."""
    path = pathlib.Path(__file__).parent.parent / "benchmarks" / "house.py"
    spec = importlib.util.spec_from_file_location("house", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


house = load_house()
PACKAGE = house.PACKAGE
# From the ground up; the modules of the first line stand beside each other.
FLOORS = [
    {
        "__init__",
        "lazy",
        "errors",
        "io",
        "config",
        "progress",
        "machine",
        "locking",
        "luma",
        "renamed",
        "sums",
        "theme",
        "workers",
    },
    {"games"},
    {"sources"},
    {"frames"},
    {"model"},
    {"training"},
    {"labels"},
    {"motion"},
    {"objects"},
    {"buttons"},
    {"world"},
    {"evaluation"},
    {"play"},
    {"presets"},
    {"bench", "demo"},
    {"verbs"},
    {"cli"},
    {"__main__"},
]
MODULES = house.MODULES
# The package itself names what it loads on first use, which is for type checkers.
HOUSE = [path for path in MODULES if path != PACKAGE / "__init__.py"]
TEXTS = (".py", ".html", ".j2", ".css", ".js", ".svg")
OUTSIDE_GAMES = [
    path
    for path in sorted(PACKAGE.rglob("*"))
    if path.suffix in TEXTS and path.relative_to(PACKAGE).parts[0] != "games"
]
NOT_YET = pytest.mark.xfail(
    strict=False, reason="the floors are being rewritten; this holds when all have landed"
)


def floor_of(name):
    return next(i for i, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_floor_imports_only_the_floors_below_it(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in house.imported_names(path):
        package, _, rest = name.partition(".")
        imported = rest.partition(".")[0]
        if package == "ghostpad" and imported not in (here, "", "__version__"):
            same_ground = floor_of(imported) == floor_of(here) == 0
            assert floor_of(imported) < floor_of(here) or same_ground, f"{here} imports {name}"


def elements_of_games():
    """The elements of single games, in the singular; "player" fits all games."""
    return {name.removesuffix("s") for game in GAMES for name in game.elements} - {"player"}


@pytest.mark.parametrize("path", OUTSIDE_GAMES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_games_names_an_element_of_a_game(path):
    assert {"ball", "paddle", "brick"} <= elements_of_games()
    # Code, strings, comments and templates alike: `num_balls` and `BallTracker` name a ball.
    words = re.findall("[A-Z]?[a-z]+|[A-Z]+", path.read_text(encoding="utf-8"))
    assert not {word.lower().removesuffix("s") for word in words} & elements_of_games()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_its_parser(path):
    modules = {name.partition(".")[0] for name in house.imported_names(path)}
    assert path.name == "cli.py" or not modules & {"tyro", "argparse", "click"}


def test_every_option_is_read_and_explained():
    trees = [ast.parse(path.read_text()) for path in MODULES]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    configs = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name.endswith("Config")]
    assert configs
    for config in configs:
        for i, statement in enumerate(config.body):
            if isinstance(statement, ast.AnnAssign):
                name = f"{config.name}.{statement.target.id}"
                assert statement.target.id in read, f"nothing reads {name}"
                after = config.body[i + 1] if i + 1 < len(config.body) else None
                # A config inside another is explained by its own class.
                nested = statement.value is not None and ast.unparse(statement.value).startswith("field(")
                assert nested or is_text(after), f"{name} has no docstring for --help"
                assert nested or "\n" not in after.value.value, f"{name}: --help wants one line"


def is_text(node):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def test_no_module_is_a_collection_of_helpers():
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "misc"}


@NOT_YET
def test_the_package_keeps_to_its_number_of_lines():
    assert house.count_lines() <= house.MOST_LINES
    assert house.count_lines(*house.WORLD_FLOORS) <= house.MOST_WORLD_LINES


@NOT_YET
def test_no_file_is_longer_than_300_lines():
    assert not [(lines, name) for lines, name in house.longest_files() if lines > house.LONGEST_FILE]


@NOT_YET
def test_no_modules_import_each_other_in_a_circle():
    assert house.circles() == []


@NOT_YET
def test_no_floor_has_more_than_six_layers():
    deep = {floor: chain for floor, chain in house.layers().items() if len(chain) > house.MOST_LAYERS}
    assert not deep


def test_standard_terms_have_replaced_all_other_words():
    assert not house.old_words()


def test_the_bounds_are_measured_as_they_are_meant(monkeypatch, tmp_path):
    package = tmp_path / "src" / "ghostpad"
    files = {
        "__init__.py": "from ghostpad.a.one import x\n",
        "a/__init__.py": "",
        "a/one.py": "from ghostpad.a.two import y\n",
        "a/two.py": "def next_things():\n    import ghostpad.a.three\n",
        "a/three.py": "from ghostpad.a import two\nclass OldNothing:\n    pass  # something old comes\n",
        "b.py": "import ghostpad.a.one\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    monkeypatch.setattr(house, "PACKAGE", package)
    monkeypatch.setattr(house, "MODULES", sorted(package.rglob("*.py")))
    (tmp_path / "README.md").write_text("Nobody mends a thing; nothing is due.")
    house.import_graph.cache_clear()
    assert house.circles() == [["ghostpad.a.three", "ghostpad.a.two"]]
    assert {floor: len(chain) for floor, chain in house.layers().items()} == {"a": 3}
    assert (house.count_lines(), house.count_lines("a"), house.longest_files()[0]) == (
        8,
        6,
        (3, "a/three.py"),
    )
    found = sorted(place.rpartition("/")[2] for place in house.old_words())
    assert found == [
        "README.md: mends",
        "README.md: nobody",
        "README.md: thing",
        "three.py: old",
        "two.py: things",
    ]
    house.import_graph.cache_clear()
