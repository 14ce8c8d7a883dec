"""Progress bars: rate and time left on work over two seconds, silent where there is no terminal."""

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
