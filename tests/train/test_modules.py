"""Lightning modules: the schedule, draws that repeat and never coincide, clipping, precision, and learning itself."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback
from tables import NAN, chains, parts
from torch import nn

import dgl_moleblend as mb
from dgl_moleblend.errors import MoleBlendError
from dgl_moleblend.models.losses import property_loss
from dgl_moleblend.models.scores import score
from dgl_moleblend.models.targets import LabelScaling, to_prediction
from dgl_moleblend.report.results import read_curves
from dgl_moleblend.train.loop import MoleculeData, fit
from dgl_moleblend.train.modules import (
    FinetuningModule,
    PretrainingModule,
    PropertyScores,
    TrainingModule,
    warmup_cosine,
)

CONFIG = mb.TrainingConfig(max_epochs=2, batch_size=4, learning_rate=1e-3)


class Recorder(nn.Module):
    """Stands for BlendPretraining: keeps what it is shown, and a draw of the global generator, as dropout makes."""

    def __init__(self):
        super().__init__()
        self.blend_config = mb.BlendConfig()
        self.molecule_columns = {}
        self.weight = nn.Parameter(torch.ones(()))
        self.seen = {True: [], False: []}

    def forward(self, batch, blend, noise, targets=None):
        shown = torch.cat([blend.pair.float().flatten(), blend.atom.float().flatten(), noise.flatten(), torch.rand(3)])
        self.seen[self.training].append(shown)
        loss = self.weight**2
        return SimpleNamespace(loss=loss, losses={"spd": loss.detach()})


def record(folder, **changes):
    module = PretrainingModule(Recorder(), CONFIG.replace(**changes))
    dataset = chains(12)
    run(module, dataset, folder)
    return module.model.seen


def run(module, dataset, folder, callbacks=(), monitor=None, validation=4, precision="32-true"):
    data = MoleculeData(dataset, parts(dataset, validation, 0), module.config)
    return fit(
        module,
        data,
        folder,
        description="",
        monitor=monitor,
        compute=mb.Compute(progress=False, callbacks=tuple(callbacks), precision=precision),
    )


def finetuning(dataset, config, task_type="regression", size=None, readout="token", **settings):
    torch.manual_seed(0)
    encoder = mb.MoleBlendEncoder.from_config(size or mb.EncoderConfig.tiny())
    predictor = mb.MoleBlendPredictor(len(dataset.task_names), encoder, readout=readout)
    scaling = LabelScaling.fit(dataset.labels) if task_type == "regression" else LabelScaling.none(2)
    return FinetuningModule(predictor, config, task_type, dataset.task_names, scaling, **settings)


def test_learning_rate_grows_then_falls_as_a_cosine(tmp_path):
    class Rates(Callback):
        def __init__(self):
            self.seen = []

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.seen.append(optimizer.param_groups[0]["lr"])

    rates = Rates()
    run(PretrainingModule(Recorder(), CONFIG.replace(warmup=0.5)), chains(16), tmp_path, [rates])
    expected = [CONFIG.learning_rate * warmup_cosine(step, 3, 6) for step in range(6)]
    assert rates.seen == pytest.approx(expected)
    assert max(rates.seen) == rates.seen[2] == CONFIG.learning_rate


def test_optimizer_is_adam_with_decoupled_decay(tmp_path):
    module = PretrainingModule(Recorder(), CONFIG.replace(max_epochs=1, max_steps=1, weight_decay=0.5, warmup=0.0))
    run(module, chains(8), tmp_path)
    # one step of Adam moves by the learning rate; the decay takes half of it off 1
    assert module.model.weight.item() == pytest.approx(1 - 1e-3 * 0.5 - 1e-3, abs=1e-6)


def test_every_step_draws_its_own_and_a_run_repeats_them(tmp_path):
    first, again = record(tmp_path / "a"), record(tmp_path / "b")
    assert len(first[True]) == 4
    for a, b in zip(first[True], again[True], strict=True):
        assert torch.equal(a, b)
    for a, b in itertools.combinations(first[True], 2):
        assert a.shape != b.shape or not torch.equal(a, b)
        assert not torch.equal(a[-3:], b[-3:])  # the dropout's draw, whatever the shapes


def test_another_seed_draws_otherwise(tmp_path):
    first, other = record(tmp_path / "a"), record(tmp_path / "b", seed=1)
    assert not any(torch.equal(a[-3:], b[-3:]) for a, b in itertools.product(first[True], other[True]))


def test_every_rank_draws_its_own(tmp_path, monkeypatch):
    first = record(tmp_path / "a")
    monkeypatch.setattr(TrainingModule, "global_rank", 1)
    other = record(tmp_path / "b")
    for a, b in zip(first[True], other[True], strict=True):
        assert a.shape == b.shape
        assert not torch.equal(a[:-3], b[:-3])
        assert not torch.equal(a[-3:], b[-3:])


def test_validation_shows_every_epoch_the_same_and_leaves_training_draws_alone(tmp_path):
    seen = record(tmp_path / "a")[False]
    assert len(seen) == 2
    assert torch.equal(seen[0][:-3], seen[1][:-3])


@pytest.mark.parametrize("clip_norm", [0.01, 0.0])
def test_gradients_are_clipped_if_asked_for(tmp_path, clip_norm):
    class Norms(Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_end(self, trainer, module, *_):
            self.seen.append(torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm())

    norms = Norms()
    dataset = chains(8)
    run(finetuning(dataset, CONFIG.replace(clip_norm=clip_norm)), dataset, tmp_path, [norms])
    if clip_norm:
        assert max(norms.seen) == pytest.approx(clip_norm, rel=1e-3)
    else:
        assert max(norms.seen) > 0.05


@pytest.mark.parametrize("task_type", ["regression", "classification"])
def test_a_few_molecules_are_learned_by_heart(tmp_path, task_type):
    size = mb.EncoderConfig.tiny(attention_dropout=0.0, activation_dropout=0.0, drop_path=0.0)
    dataset = chains(8, task_type=task_type)
    config = mb.TrainingConfig(max_epochs=400, batch_size=8, learning_rate=2e-3)  # 5e-3: not every seed
    run(finetuning(dataset, config, task_type, size), dataset, tmp_path, validation=0)
    losses = read_curves(tmp_path)["train/loss_epoch"].dropna()
    assert losses.iloc[-1] < 0.1 * losses.iloc[0]


def test_pretraining_learns(tmp_path):
    torch.manual_seed(0)
    config = mb.TrainingConfig(max_epochs=30, batch_size=8, learning_rate=3e-3)
    module = PretrainingModule(mb.BlendPretraining.from_config(mb.EncoderConfig.tiny()), config)
    run(module, chains(8), tmp_path, validation=0)
    curves = read_curves(tmp_path)
    for name, share in (("train/spd", 0.8), ("train/positions", 0.8), ("train/loss_epoch", 0.9)):
        values = curves[name].dropna()
        assert values.iloc[-1] < share * values.iloc[0], name
    assert {"train/bond_path", "train/denoising"} <= set(curves.columns)


def test_mixed_precision(tmp_path):
    dataset = chains(12)
    module = finetuning(dataset, CONFIG)
    run(module, dataset, tmp_path, monitor="rmse", precision="bf16-mixed")
    assert read_curves(tmp_path)[["train/loss_epoch", "validation/rmse"]].dropna().to_numpy().max() < 100
    assert all(p.dtype == torch.float32 for p in module.parameters())


@pytest.mark.parametrize(("precision", "clip"), [("32-true", 0), ("32-true", 0.5), ("bf16-mixed", 0.5)])
def test_one_kernel_updates_all_weights_as_many_do(precision, clip, tmp_path, monkeypatch):
    dataset, config, found = chains(12), CONFIG.replace(max_epochs=2, clip_norm=clip), []
    for may in (True, False):
        module = finetuning(dataset, config)
        if not may:
            monkeypatch.setattr(type(module), "_may_fuse", lambda self: False)
        run(module, dataset, tmp_path / str(may), precision=precision)
        found.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


def test_validation_scores_are_those_of_all_rows_together(tmp_path):
    """Not the mean of batches' scores: validation rows come in batches of different sizes."""
    dataset = chains(14)
    module = finetuning(dataset, CONFIG.replace(max_epochs=1))
    run(module, dataset, tmp_path, monitor="rmse", validation=6)
    rows = dataset.subset(range(8, 14))
    module.eval()
    with torch.no_grad():
        batch = mb.MoleculeBatch.from_arrays([sample.molecule for sample in rows]).relations()
        prediction = module.scaling.restore(module.model(batch)).numpy()
    expected = score(prediction, rows.labels, "regression", dataset.task_names)
    assert read_curves(tmp_path)["validation/rmse"].dropna().iloc[-1] == pytest.approx(expected["rmse"], rel=1e-4)


def test_weights_that_diverged_are_reported(tmp_path):
    dataset = chains(12)
    module = finetuning(dataset, CONFIG)
    module.model.head.apply(lambda m: [nn.init.constant_(p, NAN) for p in m.parameters(recurse=False)])
    with pytest.raises(MoleBlendError, match=r"no longer finite after epoch 1[\s\S]*lower the learning rate"):
        run(module, dataset, tmp_path, monitor="rmse")


def test_scores_of_several_batches_are_scored_together():
    scores = PropertyScores("regression", ["a"])
    scores.update(torch.tensor([0]), torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    scores.update(torch.tensor([1, 2]), torch.tensor([[1.0], [5.0]]), torch.tensor([[4.0], [NAN]]))
    scores.update(torch.tensor([0]), torch.tensor([[1.0]]), torch.tensor([[2.0]]))  # again, as processes do
    assert scores.compute()["rmse"] == pytest.approx(5**0.5)


def test_each_layer_learns_at_its_own_rate_and_nothing_is_left_out():
    module = finetuning(chains(8), CONFIG.replace(layer_decay=0.5), size=mb.EncoderConfig.tiny())
    groups = module.parameter_groups()
    layers = module.model.encoder.layers
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rate.keys() == {id(p) for p in module.parameters()}
    assert {rate[id(p)] for p in module.model.head.parameters()} == {1e-3}
    for depth, layer in enumerate(reversed(layers), 1):
        assert {rate[id(p)] for p in layer.parameters()} == {1e-3 * 0.5**depth}
    lowest = 1e-3 * 0.5 ** (len(layers) + 1)
    assert rate[id(module.model.encoder.atom_embedding.embedding.weight)] == lowest
    assert rate[id(module.model.encoder.token)] == lowest
    assert len(finetuning(chains(8), CONFIG).parameter_groups()) == 1


def test_a_frozen_encoder_stays_as_it_is_and_the_head_learns(tmp_path):
    module = finetuning(chains(12), CONFIG.replace(freeze_encoder=True, weight_decay=0.1))
    before = {name: value.clone() for name, value in module.model.state_dict().items()}
    seen = []

    class Modes(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append((module.model.encoder.training, module.model.head.training))

    run(module, chains(12), tmp_path, callbacks=[Modes()], monitor="rmse")
    assert set(seen) == {(False, True)}
    for name, value in module.model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("encoder."), name


@pytest.mark.parametrize("readout", ["token", "mean", "sum"])
def test_states_of_a_frozen_encoder_are_computed_once_and_the_head_learns_the_same(tmp_path, readout):
    config = CONFIG.replace(freeze_encoder=True, max_epochs=4, learning_rate=1e-2)
    calls, heads = [], []
    for keep_states in (False, True):
        module = finetuning(chains(20), config, readout=readout, keep_states=keep_states)
        encoded = []
        module.model.encoder.register_forward_hook(lambda m, i, output, seen=encoded: seen.append(len(output.token)))
        run(module, chains(20), tmp_path / str(keep_states), monitor="rmse")
        calls.append(sum(encoded))
        heads.append(torch.cat([p.detach().flatten() for p in module.model.head.parameters()]))
    assert calls[0] == 4 * 20
    assert 20 <= calls[1] <= 2 * 20, "a molecule is met again where its first batches were others, never in every epoch"
    torch.testing.assert_close(heads[1], heads[0], rtol=1e-4, atol=1e-5)


def test_labels_keep_their_digits_until_they_are_scaled():
    """999999999.98 and 1000000000 are one number in float32."""
    labels = torch.tensor([[999999999.98], [1000000000.0], [float("nan")]], dtype=torch.float64)
    scaling = LabelScaling.fit(labels.numpy())
    output = torch.tensor([[-1.0], [1.0], [0.0]])
    assert property_loss(output, labels, "regression", scaling) < 1e-8
    assert property_loss(-output, labels, "regression", scaling) == pytest.approx(4, rel=1e-4)
    scores = PropertyScores("regression", ["y"])
    scores.update(torch.arange(len(labels)), to_prediction(-output, "regression", scaling), labels)
    assert scores.compute()["rmse"] == pytest.approx(0.02, rel=1e-4)
