"""Verdicts on the frames of a recording: their number, their rate, and their compression.

The limits were tuned on six games, recorded by `benchmarks/games.py` (Pong, Breakout, Ms. Pac-Man; Doom's
`my_way_home`, Crafter, CoinRun), and on damaged copies of them.

Dimensions: N frames or transitions, H W frame, h w frame after averaging blocks of pixels.
"""

import numpy as np

from ghostpad.evaluation.doctor.motion import BLOCK, LONGEST_SIDE, shrink, steady_share
from ghostpad.evaluation.doctor.verdict import Limit, Verdict, judge, unknown
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.frames.store import FrameStore
from ghostpad.luma import luma

STRIDES = (1, 2, 4, 8)  # strides that are compared
EPISODES = Limit(10, MIN_EPISODES, at_least=True)
"""From ten on, validation and test have a tenth of the episodes each; below three there are no splits."""
STILL = Limit(0.5, 0.9, "%")
"""Share of still transitions: 2 to 26 % in the games, 68 % in MiniGrid, where walls stop the player."""
DUPLICATES = Limit(0.1, 0.3, "%")
"""Share of frames that repeat the one before at a regular beat: 0 in the games, 50 % if all are doubled."""
STEADY = Limit(0.06, 0.045, "%", at_least=True)
"""Share of moving blocks with steady motion: at least 7 % in the games, at most 4 % in every 8th frame."""
BLOCK_EDGES = Limit(1.15, 1.5)
"""Contrast at the borders of 8x8 blocks over that inside: at most 1.09 in Crafter and CoinRun, 1.2 to 4 in
the six games as JPEG of quality 15 and less."""
NEAR_COLORS = Limit(0.03, 0.25, "%")
"""Share of almost equal neighbours near edges of flat-coloured frames: 0 in the Atari games; as JPEG of any
quality at least 7 %, as H.264 (CRF 28 and more) at least 5 %."""
FLICKER = Limit(0.01, 0.1, "%")
"""Share of pixels in static regions of flat-coloured frames that change slightly: 0 in the Atari games."""
FLAT = 0.75
"""Share of equal neighbours from which frames are flat-coloured: at least 93 % in the Atari games, at most
65 % in the others."""

_MOST_EPISODES, _FEWEST_FRAMES, _MOST_FRAMES, _MOST_BYTES = 24, 60, 500, 2e9
"""Frames that are compared with their next ones, by episode: fewer where frames are large."""
_PERIODS = range(2, 7)
_CHANGES_PER_PHASE = 4
_MIN_TRIPLES, _MAX_TRIPLES, _TRIPLE_PIXELS = 32, 96, 300_000
_PAIR_PIXELS = 4_000_000
_EDGE_LEVELS, _NEAR_LEVELS, _NOISE_LEVELS = 24, 6, 6


def episodes(store: FrameStore) -> Verdict:
    """Whether there are enough episodes for train, validation and test."""
    num = len(store.episodes)
    frames = sum(episode.num_frames for episode in store.episodes)
    finding = f"{frames:,} frames; a tenth of the episodes each is kept for validation and test"
    advice = "more videos or a smaller --episode-seconds in ghostpad ingest, or ghostpad record --episodes 30"
    return judge("number of episodes", num, EPISODES, finding, advice)


def changes(store: FrameStore) -> list[np.ndarray]:
    """Whether a pixel changes in each transition of the first episodes, (N,) bool each."""
    tolerance = _NOISE_LEVELS if store.encoding == "rgb" else 0  # as RGB, the source may be a lossy video
    frame_bytes = store.pixel_encoding.frame_bytes((store.height, store.width))
    most = int(np.clip(_MOST_BYTES / frame_bytes / _MOST_EPISODES, _FEWEST_FRAMES, _MOST_FRAMES))
    found = []
    for index, episode in enumerate(store.episodes[:_MOST_EPISODES]):
        frames, last = store.array(index), min(episode.num_frames, most)
        differ = np.empty(max(0, last - 1), bool)
        for frame in range(len(differ)):
            before, after = frames[frame], frames[frame + 1]
            differ[frame] = not np.array_equal(before, after)
            if differ[frame] and tolerance:
                differ[frame] = np.abs(before.astype(np.int16) - after).max() > tolerance
        found.append(differ)
    return found


def rate(changed: list[np.ndarray]) -> list[Verdict]:
    """Whether the frames follow each other too quickly, and whether they are duplicates."""
    still = {stride: float(_still(changed, stride)) for stride in STRIDES}
    enough = next((stride for stride in STRIDES if still[stride] <= STILL.warning), STRIDES[-1])
    finding = "share of transitions in which no pixel changes noticeably"
    short = judge("frame interval too short", still[1], STILL, finding, f"--stride {enough}")
    share = duplicate_share(changed)
    factor = 1 / (1 - share) if share < 1 else 1
    finding = "share of frames that repeat the one before at a regular beat"
    setting = f"--fps of ghostpad ingest: the video's rate / {factor:.2g}"
    if abs(factor - round(factor)) < 0.1:
        setting = f"--stride {round(factor)}"
    return [short, judge("duplicate frames", share, DUPLICATES, finding, setting)]


def _still(changed: list[np.ndarray], stride: int) -> float:
    """Share of the transitions of a stride within which nothing changes."""
    counts = [np.convolve(episode, np.ones(stride), "valid") for episode in changed if len(episode) >= stride]
    return float((np.concatenate(counts) < 0.5).mean()) if counts else float("nan")


def duplicate_share(changed: list[np.ndarray]) -> float:
    """Share of transitions without change because the recording has more frames than the game.

    Such a game changes at some phases of a short period only: if it changes at 2 of 5 phases, 3 of 5 frames
    are duplicates. The median over episodes; 0 where too little changes to say.
    """
    shares = []
    for episode in changed:
        places = np.flatnonzero(episode)
        share = 0.0
        for period in _PERIODS:
            if len(places) >= _CHANGES_PER_PHASE * period:
                counts = np.bincount(places % period, minlength=period)
                # A single change out of step is a cut or an edit, not the game.
                share = max(share, float((counts <= 0.02 * len(places)).mean()))
        shares.append(share)
    return float(np.median(shares)) if shares else 0.0


def steadiness(store: FrameStore, stride: int, seed: int) -> float:
    """Share of moving blocks with steady motion; NaN if nothing moves or the episodes are too short."""
    factor = max(1, max(store.height, store.width) / LONGEST_SIDE)
    pixels = store.height * store.width / factor**2
    num = int(np.clip(_TRIPLE_PIXELS // pixels, _MIN_TRIPLES, _MAX_TRIPLES))
    long = [index for index, episode in enumerate(store.episodes) if episode.num_frames > 2 * stride]
    if not long or min(store.height, store.width) < BLOCK:
        return float("nan")
    rng = np.random.default_rng([seed, stride])
    triples = []
    for episode in rng.permutation(np.resize(rng.permutation(long), num)):
        middle = rng.integers(stride, store.episodes[episode].num_frames - stride)
        wanted = middle + stride * np.arange(-1, 2)
        triples.append(shrink(store.read(int(episode), wanted, grayscale=True)[:, 0]))
    return steady_share(np.stack(triples))


def interval_too_long(steady: float, damaged: bool) -> Verdict:
    """Whether neighbouring frames are too far apart in time for motion to be tracked.

    Compression that has `damaged` the frames hides motion, too.
    """
    name = "frame interval too long"
    if np.isnan(steady):
        return unknown(name, "nothing moves in two transitions in a row")
    if damaged and STEADY.status(steady) != "ok":
        return unknown(name, "compression hides the motion")
    finding = "share of moving blocks that keep their motion from one transition to the next"
    setting = "closer frames: a larger --fps in ghostpad ingest, or a smaller --frame-skip in ghostpad record"
    return judge(name, steady, STEADY, finding, setting)


def compression(store: FrameStore, seed: int) -> list[Verdict]:
    """Whether lossy compression has damaged the frames."""
    names = ("compression: block edges", "compression: colours", "compression: flicker")
    if store.encoding == "palette":
        colors = len(store.pixel_encoding.colors)
        finding = f"the frames have {colors} colours; lossy compression leaves thousands"
        return [Verdict(names[0].partition(":")[0], "ok", finding)]
    if min(store.height, store.width) < 16:
        return [unknown(name, "frames of less than 16 pixels") for name in names]
    setting = "a recording without loss: PNG, FFV1, or H.264 with qp 0"
    rgb = _neighbouring_frames(store, seed)
    edges = block_contrast(luma(rgb))
    finding = "contrast at the borders of 8x8 blocks, over that inside"
    verdicts = [judge(names[0], edges, BLOCK_EDGES, finding, setting)]
    flat = float((rgb[:, :, 1:] == rgb[:, :, :-1]).all(-1).mean())
    if flat < FLAT:
        reason = f"the source is not flat-coloured: {flat:.0%} of neighbouring pixels are equal"
        return [*verdicts, *(unknown(name, reason) for name in names[1:])]
    near, flicker = near_colors(luma(rgb)), static_noise(luma(rgb))
    finding = "share of neighbouring pixels near edges that are almost equal, which flat colours are not"
    verdicts.append(judge(names[1], near, NEAR_COLORS, finding, setting))
    finding = "share of pixels in static regions that change by a few levels"
    return [*verdicts, judge(names[2], flicker, FLICKER, finding, setting)]


def _neighbouring_frames(store: FrameStore, seed: int) -> np.ndarray:
    """Pairs of neighbouring frames from many episodes, (2·pairs, H, W, 3) uint8; fewer if they are large."""
    num = int(np.clip(_PAIR_PIXELS // (store.height * store.width), 4, 32))
    rng = np.random.default_rng(seed)
    long = [index for index, episode in enumerate(store.episodes) if episode.num_frames > 1]
    pairs = []
    for episode in np.resize(rng.permutation(long), num):
        first = rng.integers(store.episodes[episode].num_frames - 1)
        pairs.append(store.read(int(episode), np.arange(first, first + 2), grayscale=False))
    return np.concatenate(pairs).transpose(0, 2, 3, 1)


def block_contrast(luma_NHW: np.ndarray) -> float:
    """Mean contrast of neighbours at borders of 8×8 blocks over that elsewhere, without edges of objects."""
    at_borders, inside = 0.05, 0.05  # levels; frames without any texture have a ratio of 1
    for axis in (1, 2):
        contrast = np.moveaxis(np.abs(np.diff(luma_NHW.astype(np.int16), axis=axis)), axis, 0)
        phases = [contrast[phase::8] for phase in range(8)]
        means = [phase[phase <= _EDGE_LEVELS].mean() for phase in phases]
        at_borders, inside = at_borders + means[7], inside + np.mean(means[:7])
    return float(at_borders / inside)


def near_colors(luma_NHW: np.ndarray) -> float:
    """Share of horizontal neighbours that differ by 1 to 6 levels, in 8×8 blocks that contain an edge."""
    blocks = _blocks(luma_NHW.astype(np.int16))
    edged = blocks[np.ptp(blocks, axis=(1, 2)) > _EDGE_LEVELS]
    contrast = np.abs(np.diff(edged, axis=2))
    return float(((contrast > 0) & (contrast <= _NEAR_LEVELS)).mean()) if len(edged) else float("nan")


def static_noise(luma_NHW: np.ndarray) -> float:
    """Share of pixels that change by 1 to 6 levels in the 8×8 blocks where nothing changes by more."""
    pairs = luma_NHW.astype(np.int16)
    change = _blocks(np.abs(pairs[1::2] - pairs[::2]))
    static = change[change.max((1, 2)) <= _NOISE_LEVELS]
    return float((static > 0).mean()) if len(static) else float("nan")


def _blocks(values_NHW: np.ndarray) -> np.ndarray:
    """All complete 8×8 blocks, (blocks, 8, 8)."""
    num, height, width = values_NHW.shape
    height, width = height // 8, width // 8
    cut = values_NHW[:, : 8 * height, : 8 * width].reshape(num, height, 8, width, 8)
    return cut.swapaxes(2, 3).reshape(-1, 8, 8)
