"""Progress bars: rate and time left on work over two seconds, hidden where there is no terminal."""

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    items: Iterable[Any] | None = None, *, what: str, unit: str, total: int | None = None, shown: bool = True
) -> tqdm:
    """Return a bar over `items` (or one to `update()` by hand when `items` is None)."""
    disable = None if shown else True
    return tqdm(
        items, desc=what, unit=f" {unit}", total=total, delay=2.0, disable=disable, dynamic_ncols=True
    )


def format_duration(seconds: float) -> str:
    """For example "4 days", "5.5 hours", "40 minutes"."""
    hours = seconds / 3600
    if hours > 72:
        return f"{hours / 24:.0f} days"
    return f"{hours:.1f} hours" if hours > 1 else f"{60 * hours:.0f} minutes"
