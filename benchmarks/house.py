"""How large the package is, how its modules depend on each other, and whether it keeps to its vocabulary.

    python benchmarks/house.py

Prints each bound beside the value it holds; `tests/test_architecture.py` fails where one is exceeded.
"""

import ast
import functools
import re
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "ghostpad"
MODULES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 17_000
"""Lines of Python in `src`."""
WORLD_FLOORS, MOST_WORLD_LINES = ("motion", "objects", "buttons", "world"), 4_500
"""Lines in the floors of the object-centric world model."""
LONGEST_FILE = 300
MOST_LAYERS = 6
"""Longest chain of imports inside a floor."""

# Words that the package once used, and the standard terms that replaced them. A word in the first table is
# wrong anywhere in src, docs and tests; one in the second is ordinary English, and wrong as a name in code.
WORDS = {
    "things?": "object",
    "followed|following": "tracked, tracking, next",
    "steer(?:s|ed|ing)?": "controllable, action-conditioned",
    "push(?:es|ed)": "action-conditioned motion",
    "slacks?": "off-screen overshoot",
    "scenery": "background model",
    "going[ _-]on|goes[ _-]on": "constant-velocity prediction, continues",
    "bare": "frame without objects",
    "mend(?:s|ed|ing)?": "repair",
    "lapses?": "object dropout",
    "movement": "object dynamics, motion",
    "sights?": "crop",
    "lessons?": "batches",
    "teach(?:es|ing)?|taught": "train, fit",
    "(?:un)?told": "given, masked, reported",
    "surprise": "negative log-likelihood",
    "outlook": "prior prediction",
    "look(?:ed)?[ _-]ahead": "prefetch",
    "live[ds]?[ _-]on": "step",
    "closed[ _-]loop": "open-loop rollout",
    "head[ _-]start": "residual logit bias",
    "drafts?": "partial",
    "wish(?:es)?": "request",
    "silence": "null tracker",
    "knocks?": "check the port",
    "nobody|somebody": "no one; or name the component",
    "is there already": "exists",
    "could not be had": "unavailable",
    "is built otherwise": "has a different architecture",
    "house with floors": "layers",
    "the text": "the reference specification",
}
NAMES = {
    "covers?": "occluders",
    "parts": "rigid parts",
    "stays": "static regions",
    "com(?:es|ing)": "spawn",
    "due": "predicted mask",
    "facts": "state",
    "hides": "occluded class",
    "decide": "iterative decoding",
    "looks": "passes",
    "finding": "button inference",
    "old": "previous store",
    "revision": "update",
}


def imported_names(path: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which floor is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@functools.cache
def import_graph() -> dict[str, set[str]]:
    """The modules of the package that each of its modules imports.

    The package's own `__init__` is left out: it loads its public classes on first use.
    """
    paths = {_dotted(path): path for path in MODULES if path.parent != PACKAGE or path.stem != "__init__"}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        found = (_module_of(name, paths.keys()) for name in imported_names(path))
        graph[module] = {name for name in found if name is not None}
    return graph


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module_of(name: str, modules: Container[str]) -> str | None:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def circles() -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    graph = import_graph()
    reached = {module: _reachable(module, graph) for module in graph}
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in graph if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph[module]
    return found


def layers() -> dict[str, list[str]]:
    """For each floor that is a folder, the longest chain of imports from its top to its ground."""
    graph = import_graph()
    floors = sorted({path.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE})
    chains = {}
    for floor in floors:
        own = {module for module in graph if f"{module}.".startswith(f"ghostpad.{floor}.")}
        # The floor's `__init__` only exports names.
        own -= {f"ghostpad.{floor}"}
        chains[floor] = max((_longest_chain(module, graph, own, ()) for module in own), key=len, default=[])
    return chains


def _longest_chain(
    module: str, graph: dict[str, set[str]], own: set[str], before: tuple[str, ...]
) -> list[str]:
    below = [
        _longest_chain(name, graph, own, (*before, module))
        for name in (graph[module] & own) - {module, *before}
    ]
    return [module, *max(below, key=len, default=[])]


def count_lines(*floors: str) -> int:
    """Lines of Python in the given floors, or in the whole package."""
    inside = [path for path in MODULES if not floors or path.relative_to(PACKAGE).parts[0] in floors]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in inside)


def longest_files() -> list[tuple[int, str]]:
    """Lines and paths of all modules, the longest first."""
    sizes = [(len(path.read_text(encoding="utf-8").splitlines()), path) for path in MODULES]
    return sorted(((size, str(path.relative_to(PACKAGE))) for size, path in sizes), reverse=True)


def old_words() -> Counter[str]:
    """Occurrences of each word that a standard term replaced, as `file: word`."""
    words = _pattern(WORDS)
    names = re.compile(rf"^\s*(?:def|class)\s+\w*?{_pattern(NAMES).pattern}", re.MULTILINE)
    found: Counter[str] = Counter()
    for path in _texts():
        text, where = path.read_text(encoding="utf-8"), path.relative_to(ROOT)
        matches = list(words.finditer(text))
        if path.suffix == ".py":
            matches += [*names.finditer(text), *_pattern(NAMES).finditer(path.stem)]
        found.update(f"{where}: {match[1].lower()}" for match in matches)
    return found


def _texts() -> list[Path]:
    files = [path for folder in ("src", "docs", "tests") for path in (ROOT / folder).rglob("*")]
    files = [path for path in files if path.suffix in (".py", ".md", ".html", ".js")]
    # The table of renamed fields and weights must say what was renamed, and tests must say it too.
    # A game may use its own words: in Freeway a hit pushes the player back.
    excepted = ("renamed", "architecture", "freeway")
    kept = [path for path in files if not any(word in path.stem for word in excepted)]
    return [ROOT / "README.md", *sorted(kept)]


def _pattern(table: dict[str, str]) -> re.Pattern[str]:
    """Whole words, also inside names: `next_things`, `ThingTable`."""
    either = "|".join(table)
    capital = "|".join(re.sub(r"^((?:\(\?:un\)\?)?)(.)", lambda m: m[2].upper(), word) for word in table)
    return re.compile(rf"((?<![A-Za-z])(?:{either})|(?:{capital}))(?![a-z])")


def main() -> None:
    """Print every bound and what it holds."""
    print(f"lines in src                     {count_lines():6,}  (at most {MOST_LINES:,})")
    print(
        f"lines in {'+'.join(WORLD_FLOORS)}  {count_lines(*WORLD_FLOORS):6,}  (at most {MOST_WORLD_LINES:,})"
    )
    print(f"\nlongest files (at most {LONGEST_FILE} lines)")
    for size, name in longest_files()[:10]:
        print(f"  {size:4}  {name}")
    print("\nimport circles (none allowed)")
    print("\n".join(f"  {' ↔ '.join(circle)}" for circle in circles()) or "  none")
    print(f"\nfiles, lines and layers of each floor (at most {MOST_LAYERS} layers)")
    for floor, chain in layers().items():
        files = sum(path.relative_to(PACKAGE).parts[0] == floor for path in MODULES)
        print(f"  {floor:12}{files:3} files  {count_lines(floor):6,} lines  {len(chain)} layers")
        if len(chain) > MOST_LAYERS:
            print("    " + " → ".join(module.removeprefix(f"ghostpad.{floor}.") for module in chain))
    found = old_words()
    print(f"\nwords that a standard term replaced: {found.total()} in {len(found)} places (none allowed)")
    by_word: Counter[str] = Counter()
    for place, times in found.items():
        by_word[place.partition(": ")[2]] += times
    print("  " + ", ".join(f"{word} {times}" for word, times in by_word.most_common()))


if __name__ == "__main__":
    main()
