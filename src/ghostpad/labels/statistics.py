"""Count, mean, standard deviation and range of many values, a piece at a time."""

from typing import Any

import numpy as np


class Statistics:
    """Statistics over the first axis of what it is shown; the other axes are kept."""

    def __init__(self, shape: tuple[int, ...] = (1,)) -> None:
        """Expect values of `shape`."""
        self.count = self._values = 0
        self._sum, self._squares = np.zeros(shape), np.zeros(shape)
        self._low, self._high = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, values: np.ndarray, count: int | None = None) -> "Statistics":
        """Take in values (n, *shape), which make up `count` things (pixels make up pictures); None: n."""
        if len(values):
            values = values.astype(np.float64)
            self.count += len(values) if count is None else count
            self._values += len(values)
            self._sum += values.sum(0)
            self._squares += (values**2).sum(0)
            self._low = np.minimum(self._low, values.min(0))
            self._high = np.maximum(self._high, values.max(0))
        return self

    def merge(self, other: "Statistics") -> None:
        """Take in what `other` has seen."""
        self.count += other.count
        self._values += other._values
        self._sum += other._sum
        self._squares += other._squares
        self._low, self._high = np.minimum(self._low, other._low), np.maximum(self._high, other._high)

    def plain(self) -> dict[str, Any]:
        """Return nested lists under min, max, mean, std and count; zeros when nothing was seen."""
        if not self.count:
            return {**dict.fromkeys(("min", "max", "mean", "std"), self._sum.tolist()), "count": [0]}
        mean = self._sum / self._values
        deviation = np.sqrt(np.maximum(self._squares / self._values - mean**2, 0))
        named = {"min": self._low, "max": self._high, "mean": mean, "std": deviation}
        return {**{name: value.tolist() for name, value in named.items()}, "count": [self.count]}
