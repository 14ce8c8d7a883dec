"""What the machine offers and how memory is used."""

import subprocess
import sys

import pytest

ALLOCATE = """
import resource, numpy
from ghostpad.machine import keep_freed_memory
{call}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    numpy.ones(2**23)  # 64 MiB: 16,384 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


def page_faults_of_a_second_array(call: str) -> int:
    done = subprocess.run([sys.executable, "-c", ALLOCATE.format(call=call)], capture_output=True, text=True)
    return int(done.stdout)


def test_a_second_large_array_reuses_the_memory_of_the_first() -> None:
    if page_faults_of_a_second_array("") < 32:
        pytest.skip("this C library keeps freed memory by itself")
    assert page_faults_of_a_second_array("keep_freed_memory()") < 32
