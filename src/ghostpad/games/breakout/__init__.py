"""breakout."""
