"""Verdicts on a latent action model, by the metrics of `ghostpad evaluate` on a few held-out transitions."""

import numpy as np

from ghostpad.evaluation.codebook import entropy, summarize_codes
from ghostpad.evaluation.doctor.verdict import Limit, Verdict, judge, unknown
from ghostpad.evaluation.inference import Model, draw_blocks, transitions_of
from ghostpad.evaluation.measurements import measure, metrics_of_sums
from ghostpad.evaluation.report.summary import LEAK_SHARE, USE_CRITERION
from ghostpad.evaluation.validation import COLLAPSED_USAGE, IGNORED_DB
from ghostpad.frames.controls import read_controls
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.sums import total

TRANSITIONS = 192
"""Held-out transitions to measure on: seconds on one core, and PSNR within about 0.5 dB."""
GAIN = Limit(3.0, 0.0, "dB", at_least=True)
"""Gain over copy: the report calls 3 dB good, and at 0 dB the model has learned nothing."""
DELTA = Limit(1.0, IGNORED_DB, "dB", at_least=True)
"""ΔPSNR: Genie reports 1.3 to 2.1 dB (https://arxiv.org/abs/2402.15391, after four frames)."""
LEAK = Limit(LEAK_SHARE, 0.5, "%")
BITS = Limit(20, np.inf)
"""Bits of the codes for each bit of the controls. Codes that are the action need 1; 20 leaves room for
objects that move by themselves."""
TOO_FEW_BITS = Limit(1, 0, at_least=True)


def model_verdicts(model: Model, store: FrameStore, seed: int) -> list[Verdict]:
    """Whether the codebook is in use, predictions are good, and the codes are needed, clean and small."""
    transitions = transitions_of(model, store, "test")
    rows = draw_blocks(len(transitions), TRANSITIONS, seed, block=8)
    measured = measure(model, transitions, rows, None, seed, num_counterfactual=len(rows))
    metrics = metrics_of_sums(None, total(measured.sums))
    codebook = summarize_codes(measured.codes, model.codebook_size)
    gain = float(metrics["reconstruction.gain_over_copy_db"])
    psnr, copy = (float(metrics[f"reconstruction.{key}psnr_db"]) for key in ("", "copy_"))
    delta = float(metrics.get("reconstruction.delta_psnr_db", np.nan))
    leak = float(metrics.get("reconstruction.leak_share", np.nan))
    return [
        _codebook(codebook),
        judge(
            "good enough to go on",
            gain,
            GAIN,
            f"held-out PSNR {psnr:.1f} dB, copying the current frame {copy:.1f} dB",
            "train for longer: --steps",
        ),
        judge(
            "decoder ignores the codes",
            delta,
            DELTA,
            f"the codes of another transition cost {delta:.2f} dB (ΔPSNR)",
            "a larger --stride, so that more changes than the current frame predicts",
        ),
        judge(
            "codes leak the scene",
            leak,
            LEAK,
            f"{leak:.1%} of the static content of a frame appears where its codes are decoded on another",
            "a smaller bottleneck: fewer --model.encoder.tokens",
        ),
        _bits(codebook["bits_per_transition"], transitions, rows),
    ]


def _codebook(codebook: dict) -> Verdict:
    size = codebook["size"]
    limit = Limit(USE_CRITERION, max(2 / size, COLLAPSED_USAGE), "%", at_least=True)
    finding = f"{codebook['active']:.0%} of {size} codes are active, perplexity {codebook['perplexity']:.1f}"
    setting = f"a smaller codebook: --model.quantizer.codebook-size {max(4, size // 4)}"
    return judge("codebook collapsed", codebook["active"], limit, finding, setting)


def _bits(bits: float, transitions: Transitions, rows: np.ndarray) -> Verdict:
    """How much larger the codes are than the controls that they should stand for."""
    name = "bits per bit of the controls"
    controls = read_controls(transitions, rows)
    if controls is None:
        return unknown(name, f"{bits:.0f} bits; the controls were not recorded")
    counts = np.bincount(controls[0][controls[0] >= 0], minlength=2)
    control_bits = float(entropy(counts[None])[0] / np.log(2))
    if control_bits == 0:
        return unknown(name, f"{bits:.0f} bits; only one control occurs")
    finding = f"a transition has up to {bits:.1f} bits of codes and {control_bits:.1f} bits of controls"
    if bits < control_bits:
        setting = "a larger --model.quantizer.codebook-size"
        return judge(name, bits / control_bits, TOO_FEW_BITS, finding, setting)
    setting = "fewer tokens: --model.encoder.tokens 2 2, or --preset genie"
    return judge(name, bits / control_bits, BITS, finding, setting)
