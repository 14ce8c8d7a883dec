"""Recording formats, one file each, found by `ghostpad.sources.registry`.

A file here with a `Source` in it is a format; nothing else has to be changed.
"""
