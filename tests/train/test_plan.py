"""A run knows what it is: whatever decides the result, changed alone, makes `--resume` refuse and name it."""

import dataclasses
import json

import numpy as np
import pytest
from lightning.pytorch import Callback
from tables import QUIET, chains, parts, watched

import dgl_moleblend as mb
from dgl_moleblend.data.codec import record_batch
from dgl_moleblend.data.splits import Split
from dgl_moleblend.data.table import MoleculeTable
from dgl_moleblend.errors import CheckpointError
from dgl_moleblend.train import auto
from dgl_moleblend.train.auto import finetune_auto
from dgl_moleblend.train.comparison import Comparison
from dgl_moleblend.train.ensemble import finetune_folds, finetune_seeds
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.plan import RunPlan
from dgl_moleblend.train.pretrain import pretrain
from dgl_moleblend.train.tuning import tune

CONFIG = mb.TrainingConfig(max_epochs=1, batch_size=8)


class CutError(Exception):
    pass


class Cut(Callback):
    def on_fit_start(self, *_):
        raise CutError


def changed(dataset, change=None, featurizer=None, batches=1):
    """The same molecules in a table of their own, with something changed."""
    samples = [change(k, sample) if change else sample for k, sample in enumerate(dataset)]
    tables = [
        record_batch(list(part), 2, ("chains.csv",)) for part in np.array_split(np.array(samples, object), batches)
    ]
    return mb.MoleculeDataset(
        MoleculeTable(tables, dataset.task_names, ("chains.csv",), None, featurizer or dataset.featurizer)
    )


def last(field, value):
    """Change a field of the last molecule."""

    def change(k, sample):
        return dataclasses.replace(sample, **{field: value(sample)}) if k == 29 else sample

    return change


def molecule(**change):
    return lambda s: dataclasses.replace(s.molecule, **{name: f(s.molecule) for name, f in change.items()})


DATA = {
    "the molecules are not": last(
        "molecule", molecule(atom=lambda m: np.where(m.atom == 5, 8, m.atom + 1).astype(np.uint8))
    ),
    "the positions are not": last("molecule", molecule(positions=lambda m: m.positions + np.float32(1e-3))),
    "the labels are not": last("labels", lambda s: s.labels + 1),
    "the SMILES are not": last("smiles", lambda s: s.smiles + "C"),
    "other input rows": last("row", lambda s: 77),
}


def start(function, tmp_path, dataset, **settings):
    with pytest.raises(CutError):
        function(dataset, tmp_path / "m", **watched(Cut()), **settings)


def run_finetune(dataset, out, split=None, **settings):
    options = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET, **settings}
    finetune(dataset, split or parts(dataset), out, **options)


def run_seeds(dataset, out, split=None, **settings):
    options = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET, **settings}
    finetune_seeds(dataset, split or parts(dataset), out, seeds=2, **options)


def run_folds(dataset, out, split=None, **settings):
    options = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET, **settings}
    finetune_folds(dataset, [split or parts(dataset), parts(dataset)], out, **options)


def run_tune(dataset, out, split=None, **settings):
    options = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET, **settings}
    tune(dataset, split or parts(dataset), out, trials=1, **options)


def run_pretrain(dataset, out, **settings):
    options = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET, **settings}
    pretrain(dataset, out, **options)


RUNS = {"finetune": run_finetune, "seeds": run_seeds, "folds": run_folds, "tune": run_tune, "pretrain": run_pretrain}


@pytest.mark.parametrize("name", RUNS)
def test_other_data_is_refused_and_said_in_words(tmp_path, name):
    dataset, function = chains(30), RUNS[name]
    start(function, tmp_path, dataset)
    for words, change in DATA.items():
        with pytest.raises(CheckpointError, match=rf"{words}[\s\S]*\w{{16}}\", expected \"\w{{16}}"):
            function(changed(dataset, change), tmp_path / "m", resume=True)
    start(function, tmp_path, changed(dataset, batches=4), resume=True)  # the same content in other pieces


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("field", ["positions", "seed", "num_conformers", "optimize", "chirality"])
def test_another_featurizer_is_refused(tmp_path, name, field):
    other = {"positions": "none", "seed": 7, "num_conformers": 3, "optimize": False, "chirality": "tag"}
    dataset, function = chains(30), RUNS[name]
    start(function, tmp_path, dataset)
    featurizer = dataset.featurizer.replace(**{field: other[field]})
    with pytest.raises(CheckpointError, match=rf"featurizer\.{field} is {json.dumps(other[field])}, expected "):
        function(changed(dataset, featurizer=featurizer), tmp_path / "m", resume=True)


@pytest.mark.parametrize("name", ["finetune", "seeds", "folds", "tune"])
def test_another_split_and_other_relations_are_refused(tmp_path, name):
    dataset, function = chains(30), RUNS[name]
    start(function, tmp_path, dataset)
    split = parts(dataset)
    split["train"][0], split["validation"][0] = split["validation"][0], split["train"][0]
    with pytest.raises(CheckpointError, match=r"training rows are not those[\s\S]*validation rows are not those"):
        function(dataset, tmp_path / "m", split=split, resume=True)
    with pytest.raises(CheckpointError, match=r'relations is \["spd"\], expected \["spd", "bond_path", "distance"\]'):
        function(dataset, tmp_path / "m", model=mb.PredictorConfig(relations=("spd",)), resume=True)


@pytest.mark.parametrize("name", RUNS)
def test_other_weights_in_the_folder_of_the_start_are_refused_and_the_same_elsewhere_are_not(tmp_path, name):
    dataset, function = chains(30), RUNS[name]
    first, second = (mb.MoleBlendEncoder.from_config(mb.EncoderConfig.tiny()) for _ in range(2))
    first.save_pretrained(tmp_path / "start")
    first.save_pretrained(tmp_path / "copy")
    start(function, tmp_path, dataset, start=tmp_path / "start")
    start(function, tmp_path, dataset, start=tmp_path / "copy", resume=True)
    second.save_pretrained(tmp_path / "start")
    with pytest.raises(CheckpointError, match="the model to start from holds other weights than when the run began"):
        function(dataset, tmp_path / "m", start=tmp_path / "start", resume=True)


def leaves(values, *path):
    """Each entry of nested settings: its path and its value."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, *path, key)
        else:
            yield (*path, key), value


def another(value):
    """A value of the same kind that is not this one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return value + 1
    return (
        [*value, "another"] if isinstance(value, list) else {"another": 1} if isinstance(value, dict) else f"{value}x"
    )


FREE = {"start.from", "work.trials"}
"""Where the start lies, and how many trials a search has."""


@pytest.mark.parametrize("name", RUNS)
def test_every_entry_of_a_plan_changed_alone_is_refused_by_name(tmp_path, name):
    dataset = chains(30)
    start(RUNS[name], tmp_path, dataset)
    file = tmp_path / "m" / ("trials/run.json" if name == "tune" else "run.json")
    written = file.read_text()
    entries = list(leaves(json.loads(written)["settings"]))
    assert {f"training.{field.name}" for field in dataclasses.fields(mb.TrainingConfig)} - {
        ".".join(path) for path, _ in entries
    } <= {"training.num_workers"}
    for path, value in entries:
        document = json.loads(written)
        place = document["settings"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = another(value)
        file.write_text(json.dumps(document))
        if ".".join(path) in FREE:
            with pytest.raises(CutError):
                RUNS[name](dataset, tmp_path / "m", resume=True, **watched(Cut()))
            continue
        with pytest.raises(CheckpointError) as error:
            RUNS[name](dataset, tmp_path / "m", resume=True)
        if path != ("plan",):
            assert ".".join(path) in str(error.value), (path, str(error.value))


def test_a_plan_of_before_there_were_losses_resumes_with_the_default_alone(tmp_path):
    dataset = chains(30)
    start(run_finetune, tmp_path, dataset)
    file = tmp_path / "m" / "run.json"
    document = json.loads(file.read_text())
    assert document["settings"]["training"].pop("loss") == "mse"
    file.write_text(json.dumps(document))
    start(run_finetune, tmp_path, dataset, resume=True)
    file.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r'training\.loss is "huber", expected absent'):
        run_finetune(dataset, tmp_path / "m", training=CONFIG.replace(loss="huber"), resume=True)


def test_a_comparison_of_kinds_knows_its_data_and_features(tmp_path, monkeypatch):
    dataset, settings = chains(30), {"comparison": Comparison(("mean", "trees")), "compute": QUIET}

    def cut(*_):
        raise CutError

    monkeypatch.setattr(auto._Comparison, "mean", cut)
    with pytest.raises(CutError):
        finetune_auto(dataset, parts(dataset), tmp_path / "m", **settings)
    for words, change in DATA.items():
        with pytest.raises(CheckpointError, match=words):
            finetune_auto(changed(dataset, change), parts(dataset), tmp_path / "m", resume=True, **settings)
    with pytest.raises(CheckpointError, match="by_scaffold is true, expected false"):
        finetune_auto(dataset, Split(parts(dataset), {"split": "scaffold"}), tmp_path / "m", resume=True, **settings)


def plan(dataset, columns=()):
    return RunPlan.of("finetuning", dataset, columns=columns, start=None, training=CONFIG, compute=QUIET)


def test_columns_that_are_features_are_data():
    dataset = chains(30)
    one = dataset.select_tasks(["atoms"])
    other = changed(dataset, last("labels", lambda s: s.labels + np.array([0, 1], np.float32))).select_tasks(["atoms"])
    assert plan(one) == plan(other)
    assert plan(one, columns=["nitrogens"]) != plan(other, columns=["nitrogens"])


def test_a_subset_and_its_order_are_data():
    dataset = chains(6)
    assert dataset.subset([0, 1]).digest() != dataset.subset([1, 0]).digest()
    assert dataset.subset([0, 1]).digest() == dataset.subset([0, 1]).digest()
