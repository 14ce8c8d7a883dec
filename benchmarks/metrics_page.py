"""Write the table of keys into `docs/metrics.md`: `python benchmarks/metrics_page.py`."""

from pathlib import Path

from ghostpad.evaluation.schema import describe

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
BEGIN, END = "<!-- keys -->\n", "\n<!-- /keys -->"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{describe()}{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
