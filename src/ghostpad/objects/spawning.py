"""What comes by a button, as a ball that is served, comes."""

import numpy as np

from ghostpad.objects.detection import Thing, things_in
from ghostpad.objects.rendering import draw
from ghostpad.objects.tracking import Tracks


def with_coming(followed: Tracks, drawn_CHW: np.ndarray, coming: Thing) -> np.ndarray:
    """The drawn next frame with what comes by a button, where it mostly comes, if nothing small is there."""
    if any(thing.is_small and thing.has_moved for thing in followed.things or []):
        return drawn_CHW
    new = things_in(drawn_CHW, followed.newest)
    if new is None or any(thing.looks_like(coming) for thing in new):
        return drawn_CHW
    picture = drawn_CHW.copy()
    draw(picture, coming, coming.place)
    return picture
