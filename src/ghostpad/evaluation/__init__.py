"""Measures latent action models on held-out episodes: reconstruction, codebook, elements, events, controls.

`assess` returns everything about one model on one split; `validation_metrics` a few numbers during training.
The verbs are in `report/` (evaluate), `controls/` and `rollouts/`.
"""
