"""Recordings of gameplay: one file per format behind one protocol, and the recorder.

A `Source` recognizes a recording and lists its `Unit`s, which workers decode into `Frame`s. To add a format,
write one file with a `Source` and a `Unit` in `formats/`; `ghostpad.sources.registry` finds it there.
"""

from ghostpad.sources.base import BadInput, Frame, IngestLog, Rejected, Source, Unit

__all__ = ["BadInput", "Frame", "IngestLog", "Rejected", "Source", "Unit"]
