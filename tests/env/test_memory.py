"""A process that computes batches of ever new shapes keeps nothing of them."""

import os
import subprocess
import sys

import pytest

from dgl_moleblend.env.memory import keep_no_kernels

GROWTH = """
import ctypes
from dgl_moleblend.env.memory import keep_no_kernels
keep_no_kernels()
import torch

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]

library = ctypes.CDLL("libc.so.6")
library.mallinfo2.restype = Info
torch.set_num_threads(1)

def compute(shapes):
    with torch.inference_mode():
        for rows in shapes:
            torch.nn.functional.gelu(torch.zeros(rows, 64))
    return library.mallinfo2().h  # bytes in use

before = compute(range(1000, 1100))
print(compute(range(2000, 2400)) - before)
"""
VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


@pytest.mark.skipif(sys.platform != "linux", reason="it asks glibc what is in use")
def test_memory_does_not_grow_with_the_shapes_of_batches() -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 200_000  # of 400 shapes, by default some 2 MB


def test_what_the_user_has_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "64")
    keep_no_kernels()
    assert os.environ[VARIABLE] == "64"
