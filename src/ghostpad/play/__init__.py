"""Playing a world in the browser: one page, a WebSocket, and the real game beside it."""
