"""The WebSocket protocol between the page and the server; docs/playing.md describes it.

The page sends small JSON objects, the classes below. The server sends JSON (`welcome`, `real`, `refused`) and
one binary frame in every tick: a header, the codes row by row, the imagined picture, the emulator's if any.
"""

import struct
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ghostpad.play.game import RECORDED, GameFrame

MAX_FPS = 60
MAX_TEMPERATURE = 2.0
MAX_MESSAGE_BYTES = 1024  # longest message that a page may send

_Count = Annotated[int, Field(ge=0, lt=2**32)]
_Index = Annotated[int, Field(ge=0, lt=RECORDED)]
# number of the frame, number of the last press that it answers, milliseconds that it took, button, control
_HEADER = struct.Struct("<IIfBBxx")


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Join(_Message):
    """Ask to play."""

    type: Literal["join"]


class Press(_Message):
    """Hold a control, or a button by its number, until the next press; `count` numbers the presses."""

    type: Literal["press"]
    count: _Count
    control: _Index | None = None
    button: _Index | None = None


class Seen(_Message):
    """The newest frame that was drawn; also keeps the connection alive."""

    type: Literal["seen"]
    frame: _Count


class Pause(_Message):
    """Pause or continue."""

    type: Literal["pause"]
    paused: bool


class Step(_Message):
    """Play one frame, then pause."""

    type: Literal["step"]


class Reset(_Message):
    """Start from a recorded frame."""

    type: Literal["reset"]
    episode: _Count
    frame: _Count


class Temperature(_Message):
    """Sampling temperature of the codes; 0 takes the likeliest."""

    type: Literal["temperature"]
    value: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)]


class Speed(_Message):
    """Frames per second."""

    type: Literal["speed"]
    fps: Annotated[float, Field(ge=1, le=MAX_FPS)]


Message = Join | Press | Seen | Pause | Step | Reset | Temperature | Speed
_READER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


class MalformedMessage(ValueError):
    """Not a message of the protocol."""


def read_message(text: str) -> Message:
    """Parse one message of a page; MalformedMessage if it does not follow the protocol."""
    try:
        return _READER.validate_json(text)
    except ValidationError:
        raise MalformedMessage("not a message of this page") from None


def pack_frame(number: int, last_press: int, frame: GameFrame) -> bytes:
    """Frame `number` (from 1), computed after the press with the number `last_press`.

    Codes are little-endian uint16; `welcome` and `real` describe the pictures.
    """
    header = _HEADER.pack(number, last_press, frame.milliseconds, frame.button, frame.control)
    real = b"" if frame.real is None else frame.real.pixels
    return b"".join((header, frame.codes_hw.astype("<u2").tobytes(), frame.picture, real))
