"""The verb `controls`: tie buttons to the controls of a game by few labels, and study how well that works."""
