"""How true a world is: open-loop rollouts beside the emulator, single steps, speed and a film.

`build_world` is the verb `ghostpad world`; `measure` gives all numbers of a trained world.
"""
