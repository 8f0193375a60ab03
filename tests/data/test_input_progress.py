"""What conformers will take is said as soon as fifty rows have shown it, and only where it is worth a word."""

from types import SimpleNamespace

import pytest

from dgl_moleblend.data import input_progress
from dgl_moleblend.data.input_progress import InputProgress


def pass_rows(monkeypatch, seconds_each, rows, *, embeds=True, chunk=16, total=40_000, first=0):
    """Count rows of a file of `total`, 10 bytes each, as they come in chunks."""
    now = [100.0]
    monkeypatch.setattr(input_progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    reader = SimpleNamespace(total_bytes=10 * total, bytes_read=0)
    with InputProgress(reader, first, False, embeds=embeds) as bar:
        now[0] += 7  # processes start
        for done in range(first + chunk, first + rows + chunk, chunk):
            bar.count(chunk, 0, 10 * done)
            now[0] += chunk * seconds_each


def test_time_of_all_rows_is_told_from_the_first(monkeypatch, caplog):
    pass_rows(monkeypatch, 0.12, 1_000)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("conformers: 120 ms a molecule, some 80 minutes for about 40,000 rows")
    assert "--conformer-cache" in said


@pytest.mark.parametrize(
    ("each", "settings"),
    [(0.12, {"embeds": False}), (0.001, {}), (0.12, {"total": 300}), (0.12, {"rows": 48})],
    ids=["no conformers", "soon done", "few rows", "not known yet"],
)
def test_there_is_no_word_where_it_is_not_worth_one(each, settings, monkeypatch, caplog):
    pass_rows(monkeypatch, each, **{"rows": 290, **settings})
    assert not caplog.records
