"""Formats that labels are exported to, one module each.

To add one, write a module that defines `FORMAT` and add its name to `LabelFormatName` in `labels.export`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ghostpad.labels.folder import Labels


@dataclass(frozen=True)
class LabelFormat:
    """How labels are written in one format, and what their dataset card says about it."""

    write: Callable[[Labels, Path, Path | None, int | None], None]
    """Writes labels into an empty folder, given their frame store if it has moved, and frames per second."""
    loading: str
    """Markdown that says how to load the export; `{folder}` stands for its path."""
    data_files: Callable[[Labels], str] | None = None
    """Gives the YAML `data_files` that tell the Hugging Face Hub where the rows are."""
    tags: tuple[str, ...] = ()
    """More tags for the Hub."""
