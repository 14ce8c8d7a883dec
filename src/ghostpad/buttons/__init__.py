"""buttons."""
