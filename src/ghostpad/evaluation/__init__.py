"""Evaluation that tells the truth."""
