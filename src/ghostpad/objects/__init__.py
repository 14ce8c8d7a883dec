"""Objects of flat-coloured games: detected, tracked, moved by small networks and composited by code.

`ObjectPrior` wraps any world with them. `detection` and `tracking` find the objects of a frame and of a
history, `rendering` draws them; `background`, `training` and `overshoot` fit the prior to `Recordings`.
"""

from ghostpad.objects.action_motion import ActionMotion, ControlState
from ghostpad.objects.detection import Object
from ghostpad.objects.dynamics import ObjectDynamics
from ghostpad.objects.prior import ObjectPrior
from ghostpad.objects.recordings import Recordings, TrackedObject
from ghostpad.objects.scene import Scene, SceneModel, Tracks

__all__ = [
    "ActionMotion",
    "ControlState",
    "Object",
    "ObjectDynamics",
    "ObjectPrior",
    "Recordings",
    "Scene",
    "SceneModel",
    "TrackedObject",
    "Tracks",
]
