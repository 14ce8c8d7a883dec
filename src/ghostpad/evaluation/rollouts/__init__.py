"""How true a world is: rollouts beside emulator and recording, single steps, speed and a film.

`build_world` is the verb `ghostpad world`; `measure` gives all numbers of a trained world.
"""
