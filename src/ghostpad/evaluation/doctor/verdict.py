"""A verdict of `ghostpad doctor`: a number, its limits, and the setting to change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ghostpad.evaluation.report.format import page_environment, quantity

Status = Literal["ok", "warning", "problem", "unknown"]
_INDENT = " " * 9


@dataclass(frozen=True)
class Limit:
    """Up to where a number is fine (inclusive), and from where it is a problem."""

    warning: float
    """Beyond this value there is at least a warning."""
    problem: float
    """Beyond this value there is a problem; infinite where the number alone is none."""
    unit: str = ""
    """dB, % (of a share), or nothing."""
    at_least: bool = False
    """Whether the number must be large instead of small."""

    def status(self, value: float) -> Status:
        """The status of a value."""
        sign = -1 if self.at_least else 1
        if sign * value > sign * self.problem:
            return "problem"
        return "warning" if sign * value > sign * self.warning else "ok"

    def __str__(self) -> str:
        """For example "at most 50.0 %, problem above 90.0 %"."""
        fine, beyond = ("at least", "below") if self.at_least else ("at most", "above")
        problem = f", problem {beyond} {self.show(self.problem)}" if np.isfinite(self.problem) else ""
        return f"{fine} {self.show(self.warning)}{problem}"

    def show(self, value: float) -> str:
        """A value with the unit."""
        if float(value).is_integer() and not self.unit:
            return str(int(value))
        return quantity(value, self.unit, 1 if self.unit else 2)


@dataclass(frozen=True)
class Verdict:
    """The answer to one question."""

    name: str
    status: Status
    finding: str
    """What was found, or why it is unknown; one sentence."""
    value: float | None = None
    number: str = ""
    """The value with its unit."""
    threshold: str = ""
    """Which values are fine."""
    setting: str = ""
    """The one setting to change; empty when there is no need."""


def judge(name: str, value: float, limit: Limit, finding: str, setting: str) -> Verdict:
    """The verdict on a number; `setting` is dropped when the number is fine."""
    if not np.isfinite(value):
        return unknown(name, "there is nothing to measure it on")
    status = limit.status(value)
    setting = setting if status != "ok" else ""
    return Verdict(name, status, finding, float(value), limit.show(value), str(limit), setting)


def unknown(name: str, reason: str) -> Verdict:
    """The verdict on a number that cannot be measured."""
    return Verdict(name, "unknown", reason)


def to_text(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as plain text, one paragraph each."""
    lines = []
    for verdict in verdicts:
        number = f": {verdict.number}" if verdict.number else ""
        threshold = f" ({verdict.threshold})" if verdict.threshold else ""
        lines.append(f"{verdict.status:8} {verdict.name}{number}{threshold}")
        lines.append(f"{_INDENT}{verdict.finding}")
        if verdict.setting:
            lines.append(f"{_INDENT}change: {verdict.setting}")
    return "\n".join(lines)


def to_html(verdicts: Sequence[Verdict], data: str, model: str | None) -> str:
    """The verdicts as a page that loads nothing from the network."""
    return page_environment().get_template("doctor.html").render(verdicts=verdicts, data=data, model=model)
