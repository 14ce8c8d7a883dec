"""World models: from recorded frames and a button, the codes of the next transition and the next frame.

`train_world` trains a `WorldModel`; `Rollout` steps one, for measurements, environments and the browser game.
"""
