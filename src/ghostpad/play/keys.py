"""Which keys hold which control, read off the control's name."""

from ghostpad.buttons.control_map import NOOP_NAMES

DIRECTIONS = ("up", "down", "left", "right", "fire")


def held_for(name: str) -> frozenset[str]:
    """Directions that are held for a control: `RIGHTFIRE` → right and fire, `paddle left` → left."""
    return frozenset(direction for direction in DIRECTIONS if direction in name.lower())


def resting_control(names: tuple[str, ...]) -> int:
    """The control that presses nothing: by its name, else the first."""
    return next((index for index, name in enumerate(names) if name.lower().endswith(NOOP_NAMES)), 0)
