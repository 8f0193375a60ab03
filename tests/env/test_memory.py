"""Memory is given back where the C library can, and asking for it harms nowhere."""

import ctypes

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


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory._libc.cache_clear()
    try:
        memory.trim()
    finally:
        memory._libc.cache_clear()
