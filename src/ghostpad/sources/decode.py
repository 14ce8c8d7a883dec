"""What a worker does: decode a unit and write its frames as pieces."""

from dataclasses import dataclass
from pathlib import Path

from ghostpad.sources.faults import BadInput, Faults, OnBad, Rejected
from ghostpad.sources.pieces import Piece, PieceWriter
from ghostpad.sources.units import Fit, Frame, Notice, Unit


@dataclass(frozen=True)
class Task:
    """One unit, and how to write it."""

    unit: Unit
    folder: Path
    """Where the pieces go."""
    prefix: str
    """Start of the file names of the pieces."""
    fit: Fit
    palette: tuple[int, ...]
    """Colours that are known already, so that the pieces agree on their indices."""
    on_bad: OnBad


@dataclass(frozen=True)
class Decoded:
    """What became of a unit."""

    pieces: tuple[Piece, ...]
    rejected: tuple[Rejected, ...]
    notices: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Frames that were written."""
        return sum(piece.num_frames for piece in self.pieces)


def decode(task: Task) -> Decoded:
    """Write the frames of a unit as pieces, none of them across a fault, a gap or a cut.

    Raises:
        UserError: a frame is bad and bad frames are not to be left out.
    """
    faults = Faults(task.on_bad)
    notices: dict[str, None] = {}
    pieces: list[Piece] = []
    writer: PieceWriter | None = None
    try:
        for item in task.unit.frames():
            if isinstance(item, Notice):
                notices[item.text] = None
                continue
            frame = fit_frame(item, task, faults)
            if frame is None:
                continue
            if writer is not None and not writer.continues(frame):
                pieces.append(writer.close())
                writer = None
            if writer is None:
                path = task.folder / f"{task.prefix}-{len(pieces):06d}.npy"
                writer = PieceWriter(path, frame, task.palette)
            writer.add(frame)
        if writer is not None:
            pieces.append(writer.close())
            writer = None
    finally:
        if writer is not None:
            writer.discard()
    return Decoded(tuple(pieces), tuple(faults.rejected), tuple(notices))


def fit_frame(item: Frame | Rejected, task: Task, faults: Faults) -> Frame | None:
    """Bring a frame to size; None if it is left out."""
    if isinstance(item, Frame):
        try:
            colors = task.fit(item.colors)
        except BadInput as bad:
            item = Rejected(task.unit.name, item.file, item.number, str(bad))
        else:
            return item if colors is item.colors else item._replace(colors=colors)
    faults.add(item)
    return None
