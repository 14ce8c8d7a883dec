"""The house stands: floors rest on the floors below them, and every option does something."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "src" / "ghostpad"
# From the ground up; the modules of the first line stand beside each other.
FLOORS = [
    {"__init__", "errors", "io", "config", "progress", "machine", "locking", "luma", "renamed", "workers"},
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
MODULES = sorted(PACKAGE.rglob("*.py"))
# The package itself names what it loads on first use, which is for type checkers.
HOUSE = [path for path in MODULES if path != PACKAGE / "__init__.py"]


def floor_of(name):
    return next(i for i, names in enumerate(FLOORS) if name in names)


def imported_names(tree):
    """Yield the dotted name of everything that is imported, wherever in the file it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which floor is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_floor_imports_only_the_floors_below_it(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported_names(ast.parse(path.read_text())):
        package, _, rest = name.partition(".")
        imported = rest.partition(".")[0]
        if package == "ghostpad" and imported not in (here, "", "__version__"):
            same_ground = floor_of(imported) == floor_of(here) == 0
            assert floor_of(imported) < floor_of(here) or same_ground, f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_its_parser(path):
    modules = {name.partition(".")[0] for name in imported_names(ast.parse(path.read_text()))}
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


def test_there_is_no_drawer_for_leftovers():
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "misc"}
