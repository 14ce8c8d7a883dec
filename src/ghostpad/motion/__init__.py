"""Motion between frames, measured without learning: how far the picture shifts, as a whole and in parts.

It knows no game and needs no palette. Buttons are inferred from it on any game (`ghostpad.buttons`).
"""

from ghostpad.motion.features import Motion, motion_features, region_motion
from ghostpad.motion.shift import phase_correlation, region_shifts, regions

__all__ = ["Motion", "motion_features", "phase_correlation", "region_motion", "region_shifts", "regions"]
