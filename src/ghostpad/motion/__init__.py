"""Motion between frames, measured without learning: how far the picture, its parts and its colours shift.

`ghostpad.buttons` infers buttons from it on any game; no palette is needed.
"""

from ghostpad.motion.features import Motion, features_of_pairs, motion_features, region_motion
from ghostpad.motion.shift import phase_correlation, region_shifts, regions

__all__ = [
    "Motion",
    "features_of_pairs",
    "motion_features",
    "phase_correlation",
    "region_motion",
    "region_shifts",
    "regions",
]
