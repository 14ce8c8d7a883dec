"""The recorded controls of transitions, and the directions that they stand for.

Dimensions: T transitions.
"""

from collections.abc import Sequence

import numpy as np

from ghostpad.frames.pairs import Transitions


def control_classes(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Directions of a game's controls, and the class of each control; the fire button tells none."""
    directions = [name.upper().removesuffix("FIRE").replace("NOOP", "") or "STAY" for name in names]
    classes = sorted(set(directions), key=lambda name: (name != "STAY", directions.index(name)))
    return [name.lower() for name in classes], np.array([classes.index(name) for name in directions])


def read_controls(
    transitions: Transitions, rows: np.ndarray, directions: bool = True
) -> tuple[np.ndarray, list[str]] | None:
    """Class of the control of each transition, (T,), and the names of the classes; None when not recorded.

    Over a stride of several frames the control held most often counts. With `directions` off the classes are
    the game's controls themselves.
    """
    store, episodes = transitions.store, transitions.episode_index[rows]
    classes: list[str] | None = None
    labels = np.full(len(rows), -1)
    for episode in np.unique(episodes):
        controls, names = store.controls(int(episode)), store.control_names(int(episode))
        if controls is None or names is None:
            continue
        these, lookup = control_classes(names) if directions else (names, np.arange(len(names)))
        if classes is None:
            classes = these
        if these == classes:
            mine = episodes == episode
            first = transitions.frame_index[rows][mine]
            held = lookup[controls[first[:, None] + np.arange(transitions.stride)]]
            votes = (held[:, :, None] == np.arange(len(classes))).sum(1)
            labels[mine] = votes.argmax(1)
    return None if classes is None else (labels, classes)
