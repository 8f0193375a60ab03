"""Pretraining and fine-tuning from data set to folder: what may and may not be looked at, and what is written down."""

import json

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from tables import NAN, QUIET, chains, parts

import dgl_moleblend as mb
from dgl_moleblend import folder as model_folder
from dgl_moleblend.errors import CheckpointError, DataError
from dgl_moleblend.models.scores import METRICS, shared_metrics
from dgl_moleblend.predict.ensemble import predict
from dgl_moleblend.train import finetune as finetune_module
from dgl_moleblend.train.checked import check_request
from dgl_moleblend.train.finetune import finetune
from dgl_moleblend.train.pretrain import pretrain

CONFIG = mb.TrainingConfig(max_epochs=3, batch_size=4, learning_rate=1e-3)
QUICK = {"start": mb.EncoderConfig.tiny(), "training": CONFIG, "compute": QUIET}


class Relabelled(mb.MoleculeDataset):
    """A data set with other labels."""

    def __init__(self, dataset, labels):
        super().__init__(dataset.table)
        self._labels = labels

    @property
    def labels(self):
        return self._labels

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return type(sample)(sample.molecule, self._labels[index], sample.row, id=sample.id, smiles=sample.smiles)

    def subset(self, indices):
        part = Relabelled(self, self._labels[indices])
        part._indices = np.asarray(indices)
        return part


def relabel(dataset, rows, function):
    labels = dataset.labels.copy()
    labels[rows] = function(labels[rows])
    return Relabelled(dataset, labels)


def same_weights(a, b):
    first, second = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    dataset = chains(30, rejects=2)
    return dataset, finetune(dataset, parts(dataset), tmp_path_factory.mktemp("model") / "m", **QUICK)


def test_the_folder_holds_all_that_prediction_needs(finetuned):
    dataset, result = finetuned
    assert {p.name for p in result.folder.iterdir()} == {
        "config.json", "model.safetensors", "metrics.json", "predictions.csv", "split.csv", "run.json", "logs",
        "curves.png", "parity.png", "rejects.csv", "report.html", "calibration.json", "training_set.npz",
    }  # fmt: skip
    extra = model_folder.read(result.folder).extra
    assert extra["task_names"] == ["atoms", "nitrogens"]
    assert extra["task_type"] == "regression"
    assert extra["metric"] == "scaled"
    assert extra["featurizer"] == mb.FeaturizerConfig(positions="given").to_dict()
    assert {"python", "torch", "rdkit", "dgl", "dgl-moleblend"} <= extra["versions"].keys()
    assert json.loads((result.folder / "metrics.json").read_text()) == json.loads(json.dumps(result.metrics))
    split = pd.read_csv(result.folder / "split.csv")
    expected = {int(dataset.rows[k]): name for name, part in parts(dataset).items() for k in part}
    assert dict(zip(split["row"], split["split"], strict=True)) == expected


def test_predictions_of_held_out_rows_are_those_of_the_saved_model(finetuned):
    dataset, result = finetuned
    table = pd.read_csv(result.folder / "predictions.csv")
    assert set(table["split"]) == {"validation", "test"}
    again = predict(result.folder, dataset, progress=False).set_index("row").loc[table["row"]]
    for task in ("atoms_predicted", "nitrogens_predicted"):
        np.testing.assert_allclose(table[task], again[task], rtol=1e-5)
    rmse = np.sqrt(((table["atoms"] - table["atoms_predicted"])[table["split"] == "test"] ** 2).mean())
    assert result.metrics["test"]["tasks"]["atoms"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert result.metrics["chosen_by"] == "scaled"
    assert result.metrics["best"] == pytest.approx(result.metrics["validation"]["scaled"], rel=1e-4)


def test_mean_predictor_is_the_mean_of_training_rows(finetuned):
    dataset, result = finetuned
    split = parts(dataset)
    train, test = dataset.labels[split["train"], 0], dataset.labels[split["test"], 0]
    expected = np.sqrt(((test - train.mean()) ** 2).mean())
    assert result.metrics["mean_predictor"]["test"]["tasks"]["atoms"]["rmse"] == pytest.approx(expected, rel=1e-5)


def test_scaling_is_measured_on_training_rows_alone(finetuned, tmp_path):
    dataset, result = finetuned
    split = parts(dataset)
    train = dataset.labels[split["train"]].astype(float)
    scaling = model_folder.read(result.folder).extra["scaling"]
    np.testing.assert_allclose(scaling["mean"], np.nanmean(train, 0))
    np.testing.assert_allclose(scaling["scale"], np.nanstd(train, 0))


def test_test_labels_change_nothing_but_the_test_scores(finetuned, tmp_path):
    dataset, result = finetuned
    split = parts(dataset)
    other = finetune(relabel(dataset, split["test"], lambda x: 1e3 - 50 * x), split, tmp_path / "m", **QUICK)
    assert same_weights(result.folder, other.folder)
    assert other.metrics["validation"] == result.metrics["validation"]
    assert other.metrics["test"]["rmse"] > 10 * result.metrics["test"]["rmse"]


def test_validation_labels_choose_the_weights_and_do_not_train_them(finetuned, tmp_path):
    dataset, result = finetuned
    split = parts(dataset)
    shifted = relabel(dataset, split["validation"], lambda x: x + 1e3)
    other = finetune(shifted, split, tmp_path / "m", **QUICK)
    assert model_folder.read(other.folder).extra["scaling"] == model_folder.read(result.folder).extra["scaling"]
    assert other.metrics["validation"]["rmse"] > 100


def test_test_rows_are_scored_once(monkeypatch, tmp_path):
    dataset = chains(30)
    split = parts(dataset, validation=6, test=7)
    scored = {"score": [], "score_constants": []}
    for name, sizes in scored.items():
        original = getattr(finetune_module, name)

        def count(p, y, *rest, original=original, sizes=sizes):
            sizes.append(len(y))
            return original(p, y, *rest)

        monkeypatch.setattr(finetune_module, name, count)
    finetune(dataset, split, tmp_path / "m", **QUICK)
    assert [sizes.count(7) for sizes in scored.values()] == [1, 1]  # the model, and the mean predictor beside it


def test_a_property_in_large_numbers_does_not_choose_the_weights_alone(finetuned, tmp_path):
    """The same labels in another unit choose the same epoch, and score the same in units of their deviation."""
    dataset, result = finetuned
    larger = relabel(dataset, np.arange(30), lambda x: x * np.array([1.0, 1024.0], np.float32))
    other = finetune(larger, parts(dataset), tmp_path / "m", **QUICK)
    assert other.metrics["best"] == pytest.approx(result.metrics["best"], rel=1e-5)
    assert other.metrics["test"]["scaled"] == pytest.approx(result.metrics["test"]["scaled"], rel=1e-5)
    rmse = [run.metrics["test"]["tasks"]["nitrogens"]["rmse"] for run in (result, other)]
    assert rmse[1] == pytest.approx(1024 * rmse[0], rel=1e-5)


def test_classification(tmp_path):
    dataset = chains(40, task_type="classification")
    result = finetune(dataset, parts(dataset, 10, 10), tmp_path / "m", **QUICK)
    assert result.metrics["task_type"] == "classification"
    assert result.metrics["chosen_by"] == "roc_auc"
    assert 0 <= result.metrics["test"]["roc_auc"] <= 1
    assert (tmp_path / "m" / "roc.png").exists()
    assert result.predictions["atoms_predicted"].between(0, 1).all()


def test_one_class_among_validation_rows_leaves_the_choice_to_the_loss(tmp_path):
    dataset = chains(30, task_type="classification", num_tasks=1)
    split = parts(dataset)
    dataset = relabel(dataset, split["validation"], np.ones_like)
    result = finetune(dataset, split, tmp_path / "m", **QUICK)
    assert result.metrics["metric"] == "roc_auc"
    assert result.metrics["chosen_by"] == "loss"
    assert result.metrics["validation"]["roc_auc"] is None
    assert result.metrics["validation"]["left_out"]["roc_auc"] == 1


def test_a_task_type_may_be_given(tmp_path):
    dataset = chains(30, task_type="classification")
    result = finetune(
        dataset,
        parts(dataset),
        tmp_path / "m",
        tasks="regression",
        **QUICK | {"training": CONFIG.replace(metric="mae")},
    )
    assert result.metrics["task_type"] == "regression"
    assert result.metrics["chosen_by"] == "mae"


@pytest.mark.parametrize("value", [5.0, 1.0])
def test_labels_that_are_all_alike_are_said_before_anything_is_trained(tmp_path, value):
    dataset = chains(20, num_tasks=1)
    dataset = relabel(dataset, np.arange(20), lambda x: np.full_like(x, value))
    with pytest.raises(
        DataError, match=rf"every label of 'atoms' among the training rows is {value}[\s\S]*split otherw"
    ):
        finetune(dataset, parts(dataset, 4, 4), tmp_path / "m", **QUICK)
    assert not (tmp_path / "m").exists()


def test_a_constant_target_beside_one_that_varies_is_learned(tmp_path):
    dataset = chains(20)
    dataset = relabel(dataset, np.arange(20), lambda x: x * [1, 0] + [0, 5.0])
    result = finetune(dataset, parts(dataset, 4, 4), tmp_path / "m", **QUICK)
    assert result.metrics["test"]["tasks"]["nitrogens"]["r2"] is None


def test_without_test_rows(tmp_path):
    dataset = chains(16)
    result = finetune(dataset, parts(dataset, 4, 0), tmp_path / "m", **QUICK)
    assert result.metrics["test"]["rmse"] is None
    assert (tmp_path / "m" / "parity.png").exists()


def test_a_pretrained_encoder_is_where_fine_tuning_starts(tmp_path):
    dataset = chains(16)
    pretrain(dataset, tmp_path / "p", **QUICK)
    still = CONFIG.replace(max_epochs=1, learning_rate=1e-30)
    finetune(dataset, parts(dataset, 4, 4), tmp_path / "m", start=tmp_path / "p", training=still, compute=QUIET)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in "pm")
    shared = [name for name in after if name.startswith("encoder.")]
    assert len(shared) > 20
    for name in shared:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_the_read_out_suits_the_start_unless_it_is_named(tmp_path):
    dataset = chains(16)
    pretrain(dataset, tmp_path / "pretrained", **QUICK)
    starts = {"fresh": QUICK["start"], "mean": tmp_path / "pretrained", "sum": tmp_path / "mean"}
    named = {"sum": {"model": mb.PredictorConfig("sum")}}
    for name, start in starts.items():
        once = {"start": start, "training": CONFIG.replace(max_epochs=1), "compute": QUIET}
        finetune(dataset, parts(dataset, 4, 4), tmp_path / name, report=False, **once, **named.get(name, {}))
    once["start"] = tmp_path / "sum"
    finetune(dataset, parts(dataset, 4, 4), tmp_path / "again", report=False, **once)
    used = {name: model_folder.read(tmp_path / name).config["predictor"]["readout"] for name in (*starts, "again")}
    assert used == {"fresh": "token", "mean": "mean", "sum": "sum", "again": "sum"}


def test_same_seed_same_bits(finetuned, tmp_path):
    dataset, result = finetuned
    again = finetune(dataset, parts(dataset), tmp_path / "m", **QUICK)
    assert same_weights(result.folder, again.folder)
    for name in ("metrics.json", "predictions.csv", "config.json"):
        assert (result.folder / name).read_bytes() == (tmp_path / "m" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"train": [0, 1], "validation": [1]}, "names a molecule twice"),
        ({"train": [0, 99], "validation": [1]}, "outside 0 to 11"),
        ({"train": [0, 1]}, "validation part of the split is empty"),
        ({"train": [], "validation": [1]}, "train part of the split is empty"),
        ({"train": [3], "validation": [0]}, "no training row has a label for 'nitrogens'"),
        ({"train": [0, 1, 2], "validation": [3], "dev": [4]}, "split='dev' is not allowed"),
    ],
)
def test_splits_that_cannot_be_used(tmp_path, split, words):
    with pytest.raises(ValueError, match=words):
        finetune(chains(12), split, tmp_path / "m", **QUICK)
    assert not (tmp_path / "m").exists()


def test_wrong_options_are_named_before_anything_is_written(tmp_path):
    dataset = chains(12)
    split = parts(dataset, 3, 3)
    with pytest.raises(
        ValueError, match=r"metric='roc_auc' is not allowed[\s\S]*rmse, mae, r2, spearman, pearson, scaled, loss"
    ):
        finetune(dataset, split, tmp_path / "m", **QUICK | {"training": CONFIG.replace(metric="roc_auc")})
    with pytest.raises(
        ValueError,
        match=r"loss='focal' is not allowed[\s\S]*mse or mae or huber or gaussian or quantile: this is a regression",
    ):
        finetune(dataset, split, tmp_path / "m", **QUICK | {"training": CONFIG.replace(loss="focal")})
    with pytest.raises(ValueError, match=r"loss='mae' is not allowed[\s\S]*it is of fine-tuning"):
        pretrain(dataset, tmp_path / "m", **QUICK | {"training": CONFIG.replace(loss="mae")})
    with pytest.raises(ValueError, match="task_type='ranking' is not allowed"):
        finetune(dataset, split, tmp_path / "m", tasks="ranking", **QUICK)
    with pytest.raises(DataError, match="holds 2, but labels of a classification are 0, 1 or empty"):
        finetune(relabel(dataset, [0], lambda x: x * 0 + 2), split, tmp_path / "m", tasks="classification", **QUICK)
    with pytest.raises(DataError, match="the molecules have no labels"):
        finetune(dataset.select_tasks([]), split, tmp_path / "m", **QUICK)
    with pytest.raises(CheckpointError, match="no model folder 'nowhere'"):
        finetune(dataset, split, tmp_path / "m", **QUICK | {"start": "nowhere"})
    with pytest.raises(ValueError, match="validation=1 is not allowed"):
        pretrain(dataset, tmp_path / "m", validation=1, **QUICK)
    with pytest.raises(DataError, match="1 molecules are too few"):
        pretrain(dataset.subset([0]), tmp_path / "m", **QUICK)
    assert not (tmp_path / "m").exists()


def test_labels_that_are_missing_train_nothing(tmp_path):
    """A row without labels is as good as absent: only its place in the batches shows."""
    dataset = chains(16)
    blank = relabel(dataset, np.arange(8), lambda x: np.full_like(x, NAN))
    result = finetune(blank, parts(dataset, 4, 0), tmp_path / "m", **QUICK)
    scaling = model_folder.read(result.folder).extra["scaling"]
    np.testing.assert_allclose(scaling["mean"], np.nanmean(dataset.labels[8:12].astype(float), 0))


def test_pretraining_leaves_a_model_and_its_losses(tmp_path):
    dataset = chains(24)
    folder = pretrain(dataset, tmp_path / "p", validation=0.25, blend=mb.BlendConfig(score="hidden"), **QUICK)
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "run.json", "logs", "curves.png"}
    model = mb.BlendPretraining.from_pretrained(folder)
    assert model.blend_config.score == "hidden"
    assert model.encoder.config == mb.EncoderConfig.tiny()
    run = json.loads((folder / "run.json").read_text())
    assert run["settings"]["molecules"] == 24
    with pytest.raises(DataError, match="already holds a finished run"):
        pretrain(dataset, folder, **QUICK)
    pretrain(dataset, folder, overwrite=True, **QUICK)


def test_pretraining_takes_molecules_with_and_without_positions_and_single_atoms(tmp_path):
    both = [*chains(10), *chains(10, conformers=0, seed=1)]
    from dgl_moleblend.data.codec import record_batch
    from dgl_moleblend.data.table import MoleculeTable

    table = MoleculeTable([record_batch(both, 2, ("chains.csv",))], ("atoms", "nitrogens"), ("chains.csv",))
    folder = pretrain(mb.MoleculeDataset(table), tmp_path / "p", **QUICK)
    assert all(np.isfinite(value).all() for value in load_file(folder / "model.safetensors").values())


def test_class_weights_are_those_of_the_training_rows(tmp_path):
    dataset = chains(40, task_type="classification", num_tasks=1)
    split = parts(dataset, 10, 10)
    dataset = relabel(dataset, np.r_[0:5], np.ones_like)
    dataset = relabel(dataset, np.r_[5:20], np.zeros_like)
    weighted = QUICK | {"training": CONFIG.replace(class_weights=True)}
    result = finetune(dataset, split, tmp_path / "m", **weighted)
    assert result.metrics["class_weights"] == {"atoms": 3.0}
    plain = finetune(dataset, split, tmp_path / "n", **QUICK)
    assert not same_weights(result.folder, plain.folder)
    with pytest.raises(DataError, match="class weights are for classification"):
        finetune(chains(20), parts(chains(20)), tmp_path / "r", **weighted)


def test_a_finished_run_whose_rate_stays_goes_on_and_ends_as_if_in_one_go(tmp_path):
    dataset, stays = chains(30), CONFIG.replace(schedule="constant", max_epochs=1)
    longer = QUICK | {"training": stays.replace(max_epochs=3)}
    whole = finetune(dataset, parts(dataset), tmp_path / "whole", **longer)
    finetune(dataset, parts(dataset), tmp_path / "grown", **QUICK | {"training": stays})
    grown = finetune(dataset, parts(dataset), tmp_path / "grown", resume=True, **longer)
    assert same_weights(whole.folder, grown.folder)
    pd.testing.assert_frame_equal(whole.predictions, grown.predictions)
    assert grown.metrics["epochs"] == 3
    with pytest.raises(DataError, match=r"there is nothing to resume[\s\S]*more epochs, or more patience"):
        finetune(dataset, parts(dataset), tmp_path / "grown", resume=True, **longer)


def test_kinds_and_units_of_tasks_are_kept_and_tasks_choose_the_labels(tmp_path):
    dataset = chains(30)
    tasks = [mb.Task("nitrogens", "regression", unit="atoms")]
    result = finetune(dataset, parts(dataset), tmp_path / "m", tasks=tasks, **QUICK)
    extra = model_folder.read(result.folder).extra
    assert (extra["task_names"], extra["units"]) == (["nitrogens"], {"nitrogens": "atoms"})
    other = [mb.Task("nitrogens", "regression", unit="atoms"), mb.Task("atoms", "classification")]
    with pytest.raises(DataError, match="some properties are to be classified and others not"):
        finetune(dataset, parts(dataset), tmp_path / "n", tasks=other, **QUICK)


@pytest.mark.parametrize("task_type", ["regression", "classification"])
def test_every_score_can_choose_the_weights(tmp_path, task_type):
    dataset = chains(24, task_type=task_type)
    for metric in {*METRICS[task_type], *shared_metrics(task_type, 2)}:
        request = check_request(dataset, parts(dataset), task_type, CONFIG.replace(metric=metric))
        assert request.monitor == metric
    chosen = METRICS[task_type][-1]
    result = finetune(dataset, parts(dataset), tmp_path / "m", **QUICK | {"training": CONFIG.replace(metric=chosen)})
    assert result.metrics["chosen_by"] == chosen
    assert result.metrics["best"] == pytest.approx(result.metrics["validation"][chosen], abs=1e-5)
