"""The world behind the codes: buttons, controls, and a game to play."""
