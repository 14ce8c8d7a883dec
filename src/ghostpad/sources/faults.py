"""What is wrong with a recording, and what to do about it: stop at the first fault, or leave it out."""

from dataclasses import dataclass, field
from typing import Literal

from ghostpad.errors import UserError

OnBad = Literal["fail", "skip"]


class BadInput(Exception):
    """A frame that cannot be used; the message is the reason, as in "is truncated"."""


@dataclass(frozen=True)
class Rejected:
    """A frame or file that was left out."""

    unit: str
    """Episode folder or video file that it belongs to."""
    file: str
    frame: int | None
    """Number of the frame in its episode, None when all of the file is meant."""
    reason: str


@dataclass
class Faults:
    """Collects what is left out; with `on_bad="fail"` the first fault is an error."""

    on_bad: OnBad
    rejected: list[Rejected] = field(default_factory=list)

    def add(self, fault: Rejected) -> None:
        """Note a fault.

        Raises:
            UserError: faults are not to be left out.
        """
        if self.on_bad == "fail":
            where = "" if fault.frame is None or fault.file.endswith(".png") else f"frame {fault.frame} "
            mend = "mend it, or leave it out with --on-bad skip"
            raise UserError(f"{fault.file}: {where}{fault.reason}; {mend}")
        self.rejected.append(fault)
