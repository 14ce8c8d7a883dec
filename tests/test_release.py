"""A release is refused where version, changelog and citation disagree; workflows run targets that exist."""

import importlib.util
import pathlib
import re
import shutil

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent
FILES = ("CHANGELOG.md", "CITATION.cff", "src/ghostpad/__init__.py")


@pytest.fixture(scope="module")
def release():
    specification = importlib.util.spec_from_file_location("release", ROOT / "scripts/release.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    return script


@pytest.fixture
def tree(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changelog = (tmp_path / "CHANGELOG.md").read_text()
    released = re.sub(r"(## \[Unreleased\]\n).*?(?=\n## )", r"\1", changelog, flags=re.DOTALL)
    (tmp_path / "CHANGELOG.md").write_text(released)
    return tmp_path


def replace(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_the_changelog_has_a_section_for_the_version_and_the_citation_names_it(release, tree):
    assert release.problems(tree) == []


def test_a_version_without_a_section_in_the_changelog_is_refused(release, tree):
    version = release.version_of(ROOT)
    replace(tree / "src/ghostpad/__init__.py", f'"{version}"', '"9.9.9"')
    replace(tree / "CITATION.cff", f"version: {version}", "version: 9.9.9")
    assert release.problems(tree) == ["CHANGELOG.md: has no section '## [9.9.9] - YYYY-MM-DD'"]


def test_a_section_without_a_date_is_refused(release, tree):
    version = release.version_of(ROOT)
    heading = re.search(rf"## \[{re.escape(version)}\].*", (tree / "CHANGELOG.md").read_text())[0]
    replace(tree / "CHANGELOG.md", heading, f"## [{version}]")
    assert any("has no section" in problem for problem in release.problems(tree))


def test_a_citation_of_another_version_is_refused(release, tree):
    replace(tree / "CITATION.cff", f"version: {release.version_of(ROOT)}", "version: 0.0.9")
    assert len(release.problems(tree)) == 1


def test_changes_that_are_not_released_are_refused(release, tree):
    replace(tree / "CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- Something new.\n")
    assert len(release.problems(tree)) == 1


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_forms_are_yaml_and_run_targets_of_make_that_exist(path):
    assert yaml.safe_load(path.read_text())
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {*re.findall(r"run: make ([a-z-]+)", path.read_text())} <= {*targets}


def test_the_citation_has_all_that_is_needed_to_cite():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "type", "title", "authors", "version", "date-released", "license"} <= {
        *citation
    }
