"""Buttons: the few discrete actions behind the codes.

They are inferred without labels, from motion (`discovery`) or from the likelihood of the codes while a world
trains (`assignment`, `selection`), and tied to real controls by few labels (`control_map`, `control_labels`).
"""
