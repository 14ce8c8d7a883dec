"""The recorded controls of transitions, and the directions that they stand for.

Dimensions: T transitions.
"""

from collections.abc import Sequence

import numpy as np

from ghostpad.frames.pairs import Transitions


def control_classes(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Group a game's controls by direction; the fire button makes no difference.

    Returns the names of the directions, "stay" first, and the class of each control, (A,).
    """
    directions = [name.upper().removesuffix("FIRE").replace("NOOP", "") or "STAY" for name in names]
    classes = sorted(set(directions), key=lambda name: (name != "STAY", directions.index(name)))
    return [name.lower() for name in classes], np.array([classes.index(name) for name in directions])


def read_controls(
    transitions: Transitions, rows: np.ndarray, directions: bool = True
) -> tuple[np.ndarray, list[str]] | None:
    """Read the control of each transition: over a stride of several frames, the one held most often.

    Controls are grouped by direction if `directions`, otherwise each is a class of its own.

    Returns:
        The class of each transition, (T,), −1 where none was recorded, and the names of the classes; None
        when no episode has recorded controls.
    """
    store, episodes = transitions.store, transitions.episode_index[rows]
    classes: list[str] | None = None
    labels = np.full(len(rows), -1)
    for episode in np.unique(episodes):
        controls, names = store.controls(int(episode)), store.control_names(int(episode))
        if controls is None or names is None:
            continue
        own_classes, lookup = control_classes(names) if directions else (names, np.arange(len(names)))
        classes = classes or own_classes
        if own_classes == classes:
            mine = episodes == episode
            first = transitions.frame_index[rows][mine]
            held = lookup[controls[first[:, None] + np.arange(transitions.stride)]]
            votes = (held[:, :, None] == np.arange(len(classes))).sum(1)
            labels[mine] = votes.argmax(1)
    return None if classes is None else (labels, classes)
