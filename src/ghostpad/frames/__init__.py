"""Frames in: recording, ingesting, the frame store, splits and pairs."""
