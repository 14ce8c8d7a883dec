"""Write the tables of keys into their pages in `docs/`: `python benchmarks/metrics_page.py`."""

from pathlib import Path

from ghostpad.evaluation.rollouts import build
from ghostpad.evaluation.schema import describe, describe_all

DOCS = Path(__file__).parent.parent / "docs"
TABLES = {"metrics.md": describe_all(), "world.md": describe(build.KEYS)}
BEGIN, END = "<!-- keys -->\n", "\n<!-- /keys -->"


def main() -> None:
    for name, tables in TABLES.items():
        text = (DOCS / name).read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        page = f"{head}{BEGIN}{tables}{END}{rest.split(END)[1]}"
        (DOCS / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
