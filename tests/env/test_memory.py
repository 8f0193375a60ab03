"""Memory is given back where the C library can, and asking for it harms nowhere."""

import ctypes
import subprocess
import sys

import psutil
import pytest

from dgl_moleblend.env import memory


def test_holes_are_given_back() -> None:
    blocks = [bytearray(60_000) for _ in range(4_000)]
    kept = blocks[::400]
    blocks.clear()
    before = psutil.Process().memory_info().rss
    memory.trim()
    assert psutil.Process().memory_info().rss <= before
    assert len(kept) == 10


def test_large_blocks_are_returned_at_once() -> None:
    """In a process of its own: what is asked for holds for all of it."""
    code = (
        "import psutil, numpy as np\n"
        "from dgl_moleblend.env.memory import return_large_blocks\n"
        "return_large_blocks()\n"
        "rss = lambda: psutil.Process().memory_info().rss >> 20\n"
        "before = rss()\n"
        "blocks, small = [], []\n"
        "for k in range(300):\n"
        "    blocks.append(np.ones(1 << 17)); small.append(bytearray(1000))\n"
        "held = rss()\n"
        "del blocks\n"
        "print(held - before, rss() - before)\n"
    )
    held, left = map(int, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert held > 250
    assert left < 20


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory._libc.cache_clear()
    try:
        memory.trim()
        memory.return_large_blocks()
    finally:
        memory._libc.cache_clear()
