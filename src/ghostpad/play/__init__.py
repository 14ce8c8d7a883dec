"""Playing a world in the browser: one static page, one WebSocket, and the emulator beside it.

`play` is the verb; `Game` is one player's game, in which the same controls drive a world and an emulator.
"""
