"""Build a release into dist/, if version, changelog, citation and tree agree: `python scripts/release.py`.

`--check` only checks. Nothing is uploaded or tagged; the last line says how.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(root: Path) -> list[str]:
    """Why the tree in `root` is no release, one line each; empty when it is one."""
    version = version_of(root)
    found = []
    section = section_of((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    if section is None:
        found.append(f"CHANGELOG.md: has no section '## [{version}] - YYYY-MM-DD'")
    elif not re.search(r"^- ", section, flags=re.MULTILINE):
        found.append(f"CHANGELOG.md: the section of {version} lists no change")
    unreleased = section_of((root / "CHANGELOG.md").read_text(encoding="utf-8"), "Unreleased")
    if unreleased and unreleased.strip():
        found.append(f"CHANGELOG.md: changes under [Unreleased] belong to {version} or to a later version")
    cited = re.search(
        r"^version: (.+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    if cited is None or cited[1].strip("\"'") != version:
        found.append(f"CITATION.cff: has version {cited[1] if cited else 'none'} instead of {version}")
    return found


def version_of(root: Path) -> str:
    """The version of the package."""
    found = re.search(
        r'^__version__ = "(.+)"$', (root / "src/ghostpad/__init__.py").read_text(), flags=re.MULTILINE
    )
    assert found, "the package has a version"
    return found[1]


def section_of(changelog: str, version: str) -> str | None:
    """The text below the heading of a version, None when it has none; a released one needs its date."""
    date = "" if version == "Unreleased" else r" - \d{4}-\d{2}-\d{2}"
    found = re.search(
        rf"^## \[{re.escape(version)}\]{date}\n(.*?)(?=^## |\Z)", changelog, flags=re.MULTILINE | re.DOTALL
    )
    return found[1] if found else None


def main() -> int:
    """Check, then build source archive and wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="build nothing")
    options = parser.parse_args()
    found = problems(ROOT)
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    if changed and not options.check:
        found.append("git status: there are changes that are not committed")
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    if options.check:
        return 0
    version = version_of(ROOT)
    subprocess.run([sys.executable, "-m", "build", "--outdir", ROOT / "dist", ROOT], check=True)
    print(f"dist/ holds {version}; next: git tag -a v{version}, and upload the files in dist/ with twine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
