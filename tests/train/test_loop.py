"""Runs: a resumed one ends in the same bits as one in one go, the best weights are kept, folders are respected."""

import dataclasses

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from tables import chain, chains, parts

import dgl_moleblend as mb
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import CheckpointError, ConfigError
from dgl_moleblend.files import CHECKPOINTS
from dgl_moleblend.pairs.loader import BucketSampler
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train.loop import MoleculeData, fit, set_seeds
from dgl_moleblend.train.modules import PretrainingModule

CONFIG = mb.TrainingConfig(max_epochs=3, batch_size=4, learning_rate=1e-3)  # 24 - 4 molecules: 5 steps an epoch


class PowerCutError(Exception):
    pass


class PowerCut(Callback):
    """Ends a run after a number of steps; before, a checkpoint is written where `save_at` says."""

    def __init__(self, after):
        self.after = after

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.after:
            raise PowerCutError


def run(folder, config=CONFIG, resume=False, callbacks=(), progress=False, validation=4, workers=0):
    set_seeds(config.seed)
    module = PretrainingModule(mb.BlendPretraining.from_config(mb.EncoderConfig.tiny(), score="all"), config)
    dataset = chains(20 + validation)
    fit(
        module,
        MoleculeData(dataset, parts(dataset, validation, 0), config, workers=workers),
        folder,
        description="pretrain",
        monitor="loss" if validation else None,
        resume=resume,
        compute=mb.Compute(progress=progress, callbacks=tuple(callbacks)),
    )
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def differ(a, b):
    return any(not torch.equal(a[name], b[name]) for name in a)


def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    first = run(tmp_path / "a")
    assert_same_bits(first, run(tmp_path / "b"))
    assert differ(first, run(tmp_path / "c", CONFIG.replace(seed=1)))


def test_workers_change_nothing(tmp_path):
    config = CONFIG.replace(max_epochs=1)
    assert_same_bits(run(tmp_path / "a", config), run(tmp_path / "b", config, workers=1))


@pytest.mark.parametrize("cut", [5, 7, 13])  # after the first epoch, and in the middle of the second and third
@pytest.mark.parametrize("validation", [4, 0])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path, cut, validation):
    whole = run(tmp_path / "whole", validation=validation)
    every_step = ModelCheckpoint(tmp_path / "cut" / CHECKPOINTS, "last", every_n_train_steps=1,
                                 enable_version_counter=False)  # fmt: skip
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", callbacks=[every_step, PowerCut(cut)], validation=validation)
    resumed = run(tmp_path / "cut", resume=True, validation=validation)
    assert_same_bits(whole, resumed)
    columns = ["step", "train/loss_epoch"]
    expected, found = (read_curves(tmp_path / name)[columns].dropna() for name in ("whole", "cut"))
    assert found["step"].tolist() == expected["step"].tolist()


def test_a_run_cut_before_its_first_checkpoint_starts_anew(tmp_path):
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", callbacks=[PowerCut(2)])
    assert_same_bits(run(tmp_path / "whole"), run(tmp_path / "cut", resume=True))


def test_ctrl_c_leaves_a_run_that_can_be_resumed(tmp_path):
    class CtrlC(Callback):
        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 7:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", callbacks=[CtrlC()])
    assert_same_bits(run(tmp_path / "whole"), run(tmp_path / "cut", resume=True))


def test_a_run_whose_rate_stays_goes_on_with_more_epochs_as_if_they_had_been_asked_for_at_once(tmp_path):
    stays = CONFIG.replace(schedule="constant")
    whole = run(tmp_path / "whole", stays)
    first = run(tmp_path / "grown", stays.replace(max_epochs=1))
    assert differ(first, whole)
    assert_same_bits(whole, run(tmp_path / "grown", stays, resume=True))
    rates = read_curves(tmp_path / "whole").filter(like="lr-").dropna().to_numpy()
    assert rates[-1] == rates[0] == stays.learning_rate


def test_more_patience_lets_a_run_go_on_that_its_patience_ended(tmp_path):
    stops = CONFIG.replace(schedule="constant", learning_rate=0.3, max_epochs=12, patience=1)
    whole = run(tmp_path / "whole", stops.replace(patience=3))
    first = run(tmp_path / "grown", stops)
    epochs = len(read_curves(tmp_path / "grown")["validation/loss"].dropna())
    assert epochs < len(read_curves(tmp_path / "whole")["validation/loss"].dropna())
    with pytest.warns(UserWarning, match="ended by its patience of 1 epochs"):
        assert_same_bits(first, run(tmp_path / "grown", stops.replace(max_epochs=20), resume=True))
    assert len(read_curves(tmp_path / "grown")["validation/loss"].dropna()) == epochs
    assert_same_bits(whole, run(tmp_path / "grown", stops.replace(patience=3), resume=True))


def test_best_weights_are_kept_rather_than_the_last(tmp_path):
    class Spoil(Callback):
        """Makes the second of three epochs the best: the third's weights are noise."""

        def on_validation_start(self, trainer, module):
            self.kept = getattr(self, "kept", [])
            if trainer.current_epoch == 2:
                for value in module.parameters():
                    value.data += 10 * torch.ones_like(value)
            self.kept.append({name: value.clone() for name, value in module.state_dict().items()})

    spoil = Spoil()
    weights = run(tmp_path, callbacks=[spoil])
    losses = read_curves(tmp_path)["validation/loss"].dropna().tolist()
    best = min(range(3), key=losses.__getitem__)
    assert best != 2
    assert_same_bits(weights, spoil.kept[best])


def test_training_stops_early(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    class Worse(Callback):
        def on_validation_start(self, trainer, module):
            if trainer.current_epoch > 2:
                module.model.spd_head.apply(lambda m: [p.data.mul_(3.0) for p in m.parameters(recurse=False)])

    run(tmp_path, CONFIG.replace(max_epochs=30, patience=3), callbacks=[Worse()], progress=True)
    losses = read_curves(tmp_path)["validation/loss"].dropna().tolist()
    assert len(losses) < 30
    assert losses.index(min(losses)) == len(losses) - 1 - 3
    last = capfd.readouterr().err.rstrip().splitlines()[-1].split("\r")[-1].strip()
    assert last.startswith(f"pretrain: stopped early after epoch {len(losses)} [")
    assert last.endswith(f", best loss {min(losses):.3g}]")
    assert len(last) <= 80


def test_progress_goes_to_stderr_with_the_score_that_chooses(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run(tmp_path / "a", CONFIG.replace(max_epochs=1), progress=True)
    shown = capfd.readouterr()
    last = shown.err.rstrip().splitlines()[-1].split("\r")[-1]
    assert len(last) <= 80
    loss = f"{read_curves(tmp_path / 'a')['validation/loss'].dropna().iloc[-1]:.3g}"
    assert f"loss {loss}, best {loss}]" in last
    assert shown.out == ""
    assert "pretrain" in shown.err
    assert "5/5" in shown.err
    assert "Warning" not in shown.err
    run(tmp_path / "b", CONFIG.replace(max_epochs=1))
    assert capfd.readouterr() == ("", "")


def test_sampler_begins_in_the_middle_once():
    sampler = BucketSampler(np.full(10, 3), 2, shuffle=True)
    whole = [plan.index.tolist() for plan in sampler]
    sampler.begin = 3
    assert [plan.index.tolist() for plan in sampler] == whole[3:]
    assert [plan.index.tolist() for plan in sampler] == whole
    assert len(sampler) == 5


@pytest.mark.parametrize("steps", [1, 3])
def test_fewer_steps_than_an_epoch_are_validated_and_saved(tmp_path, steps):
    run(tmp_path, CONFIG.replace(max_steps=steps))
    curves = read_curves(tmp_path)
    assert len(curves["validation/loss"].dropna()) == 1
    assert (tmp_path / CHECKPOINTS / "best.ckpt").exists()


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:900], lambda b: b"junk" * 99])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    with pytest.raises(PowerCutError):
        run(tmp_path, callbacks=[PowerCut(6)])
    last = tmp_path / CHECKPOINTS / "last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(
        CheckpointError, match=r"cannot be read[\s\S]*last\.ckpt[\s\S]*delete it, and --resume \(resume=True\) begins"
    ):
        run(tmp_path, resume=True)


def test_one_large_molecule_does_not_share_its_batch():
    samples = [*chains(8)]
    large = chain(600, np.random.default_rng(0))
    samples[3] = dataclasses.replace(samples[3], molecule=large)
    dataset = mb.MoleculeDataset(
        MoleculeTable([record_batch(samples, 2, ("chains.csv",))], ("a", "b"), ("chains.csv",))
    )
    data = MoleculeData(dataset, {"train": np.arange(8), "validation": np.arange(0)}, mb.TrainingConfig(batch_size=8))
    shapes = sorted(tuple(batch.molecules.atom_mask.shape) for batch in data.train_dataloader())
    assert shapes[0] == (1, 600)
    assert sum(shape[0] for shape in shapes) == 8


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_named(seed):
    with pytest.raises(ConfigError, match=rf"seed={seed} is not allowed[\s\S]*from 0 to"):
        mb.TrainingConfig(seed=seed)
