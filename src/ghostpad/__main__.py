"""`python -m ghostpad`: the same as `ghostpad`, for launchers such as torchrun."""

import sys

from ghostpad.cli import main

if __name__ == "__main__":
    sys.exit(main())
