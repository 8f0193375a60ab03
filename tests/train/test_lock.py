"""A folder that is being written is held: a second run is refused in words, a dead one's is taken over."""

import multiprocessing
import os
import socket

import pytest
from lightning.pytorch import Callback
from tables import QUIET, chains, parts, watched

import dgl_moleblend as mb
from dgl_moleblend.errors import DataError
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.lock import LOCK_FILE, holds_its_folder
from dgl_moleblend.train.pretrain import pretrain

QUICK = {"start": mb.EncoderConfig.tiny(), "training": mb.TrainingConfig(max_epochs=1), "compute": QUIET}


@holds_its_folder
def hold_and_wait(out, ready, go_on):
    ready.set()
    go_on.wait(60)


@pytest.fixture
def another(tmp_path):
    """Another process that holds the folder."""
    context = multiprocessing.get_context("fork")
    ready, go_on = context.Event(), context.Event()
    process = context.Process(target=hold_and_wait, args=(tmp_path, ready, go_on))
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize("again", [{}, {"resume": True}, {"overwrite": True}])
def test_a_second_run_is_refused_and_the_first_is_named(tmp_path, another, again):
    words = rf"another run is writing this folder: process {another.pid} on {socket.gethostname()}[\s\S]*wait for it"
    dataset = chains(16)
    with pytest.raises(DataError, match=words):
        finetune(dataset, parts(dataset, 4, 4), tmp_path, **again, **QUICK)
    with pytest.raises(DataError, match=words):
        pretrain(dataset, tmp_path, **again, **QUICK)
    assert os.listdir(tmp_path) == [LOCK_FILE]


def test_the_folder_of_a_process_that_died_is_taken_over(tmp_path, another):
    another.kill()
    another.join()
    assert (tmp_path / LOCK_FILE).exists()
    pretrain(chains(16), tmp_path, **QUICK)
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_new_folder_is_held_while_the_run_goes_on_and_free_after_a_fault(tmp_path):
    class Look(Callback):
        def on_fit_start(self, *_):
            assert (tmp_path / "m" / LOCK_FILE).exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pretrain(chains(16), tmp_path / "m", **QUICK | watched(Look()))
    assert not (tmp_path / "m" / LOCK_FILE).exists()
    pretrain(chains(16), tmp_path / "m", resume=True, **QUICK)
