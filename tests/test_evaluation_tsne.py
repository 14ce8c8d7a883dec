"""t-SNE maps of transitions."""

import numpy as np

from ghostpad.evaluation.report.tsne import transition_map


def test_transitions_with_identical_codes_have_no_map():
    assert transition_map(np.zeros((64, 2, 2), np.int64), 64, 0) is None


def test_transitions_with_the_same_codes_lie_together():
    codes = np.random.default_rng(0).integers(0, 8, (8, 4, 5)).repeat(16, axis=0)
    rows, places = transition_map(codes, 128, 0)
    same = places.reshape(8, 16, 2)
    assert len(rows) == 128
    assert same.std(axis=1).mean() < 0.2 * places.std()
