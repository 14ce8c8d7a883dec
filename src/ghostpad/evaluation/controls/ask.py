"""Which transitions to label next: those whose button has the least certain control, in a page to fill in.

Dimensions: T transitions, K buttons, C controls.
"""

import base64
import io
from pathlib import Path

import numpy as np

from ghostpad.buttons.control_labels import HEADER, LabelFile
from ghostpad.evaluation.controls.buttons import ButtonSource
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.report.format import page_environment
from ghostpad.evaluation.report.pictures import to_rgb
from ghostpad.frames.pairs import Transitions
from ghostpad.io import whole_file

PAGE = "ask.html"
ENOUGH = 0.05
"""Share of transitions with an uncertain button up to which more labels hardly change the map."""
_PRIOR, _DRAWS = 0.5, 2000
_SHOWN_WIDTH, _MILLISECONDS, _GRAY = 320, 500, (128, 128, 128)
_BLOCK = 16


def uncertainty(counts_KC: np.ndarray, seed: int) -> np.ndarray:
    """(K,) probability that the control a button was most often labelled with is not its commonest one.

    Counts have a Dirichlet posterior with a prior of half a label for each control.
    """
    draws_DKC = np.random.default_rng(seed).standard_gamma(counts_KC + _PRIOR, (_DRAWS, *counts_KC.shape))
    return 1 - (draws_DKC.argmax(2) == counts_KC.argmax(1)).mean(0)


def choose(
    buttons_T: np.ndarray, doubt_K: np.ndarray, labels_K: np.ndarray, number: int, seed: int
) -> np.ndarray:
    """Choose `number` transitions: more of a button the more it is used and the less certain its control is.

    `buttons_T` are the likeliest buttons of the candidates, `doubt_K` comes from `uncertainty`, and
    `labels_K` says how many labels each button has already.
    """
    shuffled = np.random.default_rng(seed).permutation(len(buttons_T))
    waiting = [list(shuffled[buttons_T[shuffled] == button]) for button in range(len(doubt_K))]
    weight_K = doubt_K * np.bincount(buttons_T, minlength=len(doubt_K)) + 1e-9
    labels_K, chosen = labels_K.copy(), []
    while len(chosen) < min(number, len(buttons_T)):
        open_K = np.array([bool(rows) for rows in waiting])
        button = int(np.where(open_K, weight_K / (labels_K + 1), -1).argmax())
        chosen.append(waiting[button].pop())
        labels_K[button] += 1
    return np.array(chosen, int)


def ask_for_labels(
    source: ButtonSource,
    training: Transitions,
    known: LabelFile | None,
    most: int,
    number: int,
    out: Path,
    seed: int,
) -> Path:
    """Write the page that asks for `number` of `most` drawn transitions, and print what is uncertain."""
    rows = draw_blocks(len(training), most, seed, _BLOCK)
    labels_T = known.of(training) if known else np.full(len(training), -1)
    labelled = np.flatnonzero(labels_T >= 0)
    rows = np.union1d(rows, labelled)
    posteriors = source.posteriors(training, rows)
    buttons, num_buttons = posteriors.argmax(1), posteriors.shape[1]
    counts_KC = np.zeros((num_buttons, max(2, len(known.names) if known else 2)))
    here = np.isin(rows, labelled)
    np.add.at(counts_KC, (buttons[here], labels_T[rows[here]]), 1)
    doubt_K = uncertainty(counts_KC, seed)
    free = np.flatnonzero(~here)
    chosen = rows[free[choose(buttons[free], doubt_K, counts_KC.sum(1), number, seed)]]
    page = _page(training, chosen, known)
    out.mkdir(parents=True, exist_ok=True)
    with whole_file(out / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    doubt = float(doubt_K @ np.bincount(buttons, minlength=num_buttons) / len(buttons))
    print(f"{out / PAGE}: {len(chosen)} transitions to label; it saves labels.csv for --labels-file")
    if known:
        print(f"{len(labelled)} labels so far leave the control of {doubt:.0%} of the transitions uncertain")
        if doubt <= ENOUGH:
            print("more labels would hardly change the map")
    return out / PAGE


def _page(training: Transitions, rows: np.ndarray, known: LabelFile | None) -> str:
    """The page: a film of each transition, and a field for its control."""
    names = [episode.name for episode in training.store.episodes]
    asked = []
    for row in rows:
        before, after = training.read(np.array([row]), grayscale=False)
        episode, frame = names[int(training.episode_index[row])], int(training.frame_index[row])
        asked.append({"episode": episode, "frame": frame, "film": _film(before[0], after[0])})
    controls, numbers = (known.names, known.numbers) if known else ([], {})
    so_far = [
        (names[episode], frame, controls[number]) for (episode, frame), number in sorted(numbers.items())
    ]
    page = page_environment().get_template("ask.html")
    return page.render(asked=asked, known=[HEADER, *so_far], controls=controls, width=_SHOWN_WIDTH)


def _film(before_CHW: np.ndarray, after_CHW: np.ndarray) -> str:
    """Two frames and a gray pause, which shows their order, as the `data:` address of an animated GIF."""
    from PIL import Image

    first, second = (Image.fromarray(to_rgb(frame)) for frame in (before_CHW, after_CHW))
    more = [second, Image.new("RGB", first.size, _GRAY)]
    buffer = io.BytesIO()
    first.convert("RGB").save(
        buffer, "GIF", save_all=True, append_images=more, duration=_MILLISECONDS, loop=0
    )
    return "data:image/gif;base64," + base64.b64encode(buffer.getvalue()).decode()
