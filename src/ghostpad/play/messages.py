"""What the page and the server say to each other.

The page sends small JSON objects, the classes below. The server sends JSON (`welcome`, `real`, `refused`) and
one binary frame for every tick: a header, the codes row by row, the predicted picture, the real one if any.
"""

import struct
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ghostpad.play.game import NOTHING, Shown

MOST_BYTES = 1024
"""Longest message (bytes) that a page may send."""
FASTEST = 60
"""Most frames per second."""
HOTTEST = 2.0
"""Highest temperature."""

_Count = Annotated[int, Field(ge=0, lt=2**32)]
# number of the frame, number of the last press that it knows of, milliseconds that it took, button, control
_HEADER = struct.Struct("<IIfBBxx")


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Join(_Message):
    """Ask for a seat."""

    type: Literal["join"]


class Press(_Message):
    """Hold a control, or a button by its own number, until the next press."""

    type: Literal["press"]
    count: _Count
    """number of this press, which frames give back"""
    control: Annotated[int, Field(ge=0, lt=NOTHING)] | None = None
    button: Annotated[int, Field(ge=0, lt=NOTHING)] | None = None


class Seen(_Message):
    """The newest frame that was drawn; also a sign of life."""

    type: Literal["seen"]
    frame: _Count


class Pause(_Message):
    """Stop, or go on."""

    type: Literal["pause"]
    paused: bool


class Step(_Message):
    """One frame, then stop."""

    type: Literal["step"]


class Reset(_Message):
    """Begin from a recorded frame."""

    type: Literal["reset"]
    episode: _Count
    frame: _Count


class Temperature(_Message):
    """How freely codes are drawn; 0 takes the most likely ones."""

    type: Literal["temperature"]
    value: Annotated[float, Field(ge=0, le=HOTTEST)]


class Speed(_Message):
    """Frames per second."""

    type: Literal["speed"]
    fps: Annotated[float, Field(ge=1, le=FASTEST)]


Message = Join | Press | Seen | Pause | Step | Reset | Temperature | Speed
_READER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


class Malformed(ValueError):
    """Not a message of ours."""


def read_message(text: str) -> Message:
    """Read one message of a page.

    Raises:
        Malformed: it is none.
    """
    try:
        return _READER.validate_json(text)
    except ValidationError:
        raise Malformed("not a message of this page") from None


def pack_frame(number: int, heard: int, shown: Shown) -> bytes:
    """Frame `number` (from 1), computed when press `heard` was the last to have come.

    Codes are little-endian uint16; pictures are as `welcome` and `real` describe them.
    """
    header = _HEADER.pack(number, heard, shown.milliseconds, shown.button, shown.control)
    real = b"" if shown.real is None else shown.real.pixels
    return b"".join((header, shown.codes_hw.astype("<u2").tobytes(), shown.picture, real))
