"""Make the trimmed golden files of this folder from the full ones.

    PYTHONPATH=tests python tests/golden/trim.py FOLDER_OF_FULL_FILES

Only what no test can miss is left out: arrays that follow from others, padding, table rows that no molecule reads
(their gradient is 0), and the bond-path logits of molecules above 14 atoms. Matrix gradients are kept as 16-bit
fractions of their largest magnitude: an error of 1.6e-5 of it, where tests allow 1e-4. All else keeps its bits.
`golden_files.untrim` is the way back.
"""

import json
import sys
from pathlib import Path

import numpy as np
from golden_files import HERE, our_layout

Arrays = dict[str, np.ndarray]


def rows_read(arrays: Arrays) -> dict[str, np.ndarray]:
    """Rows of the release's tables that the molecules of a file read, by the end of the table's name."""
    heads = next(v.shape[1] for k, v in arrays.items() if k.endswith("spatial_pos_encoder.weight"))
    by_type = np.unique(arrays["in/node_type_edge"])
    return {
        "atom_encoder.weight": np.unique(arrays["in/x"]),
        "in_degree_encoder.weight": np.unique(arrays["in/in_degree"]),
        "out_degree_encoder.weight": np.unique(arrays["in/in_degree"]),
        "edge_encoder.weight": np.unique(arrays["in/edge_input"]),
        "spatial_pos_encoder.weight": np.unique(arrays["in/spatial_pos"]),
        "gbf.mul.weight": by_type,
        "gbf.bias.weight": by_type,
        "edge_dis_encoder.weight": np.arange(5 * heads * heads),
    }


def trim(full: Arrays) -> Arrays:
    """Keep real atoms, real pairs and rows that are read; say where they stood."""
    atom_mask = full["in/x"][:, :, 0] > 0
    b, n = atom_mask.shape
    token_mask = np.pad(atom_mask, ((0, 0), (1, 0)), constant_values=True)
    pair_mask = atom_mask[:, :, None] & atom_mask[:, None, :]
    small = pair_mask & (atom_mask.sum(1) < 15)[:, None, None]
    tables = rows_read(full)
    out: Arrays = {}

    def store(key: str, value: np.ndarray, rows: np.ndarray, leading: int) -> None:
        out[f"shape/{key}"], out[f"rows/{key}"] = np.array(value.shape), rows.astype(np.int32)
        out[key] = value.reshape(-1, *value.shape[leading:])[rows]

    for key, value in our_layout(full).items():
        kind = key.split("/")[-2]
        table = next((rows for name, rows in tables.items() if key.endswith(name)), None)
        if kind in ("param", "grad") and table is not None:
            left_out = np.delete(value, table, axis=0)
            assert kind == "param" or not left_out.any(), f"{key}: a row that is left out has a gradient"
            store(key, value, table, 1)
        elif kind == "grad" and value.ndim == 2 and value.size > 2000:
            scale = np.abs(value).max() / np.iinfo(np.int16).max
            out[key], out[f"scale/{key}"] = np.round(value / scale).astype(np.int16), scale
        elif key == "out/edge_logits":
            store(key, value, np.flatnonzero(small), 3)
        elif value.dtype == np.int64:
            out[key] = value.astype(np.int16)
        elif value.shape[:3] == (b, n, n):
            store(key, value, np.flatnonzero(pair_mask), 3)
        elif value.shape[:2] == (b, n + 1):
            store(key, value, np.flatnonzero(token_mask), 2)
        else:
            out[key] = value
    return out


def trim_index(index: dict) -> dict:
    """Keep SMILES, versions and names without gradient."""
    keep = ("smiles", "num_classes", "parameters_without_gradient", "versions", "2d", "3d")
    return {k: (trim_index(v) if k in ("2d", "3d") else v) for k, v in index.items() if k in keep}


def trim_features(full: Arrays) -> Arrays:
    """Keep what the featurizer is compared with, molecule by molecule, in 16 bits."""
    names = ("node_feat", "edge_index", "edge_attr", "spatial_pos", "edge_input", "in_degree")
    kept = {key: value for key, value in full.items() if key.startswith("mol") and key.split("/")[1] in names}
    return {key: value.astype(np.int16) for key, value in kept.items()}


def main(folder: Path) -> None:
    with np.load(folder / "features.npz") as file:
        np.savez_compressed(HERE / "features.npz", **trim_features(dict(file)))
    index = json.loads((folder / "features_index.json").read_text())
    kept = {key: index[key] for key in ("molecules", "versions")}
    (HERE / "features_index.json").write_text(json.dumps(kept, indent=1) + "\n")
    for name in ("pretrain_small", "finetune_small"):
        with np.load(folder / f"{name}.npz") as file:
            full = {key: file[key] for key in file.files}
        np.savez_compressed(HERE / f"{name}.npz", **trim(full))
        index = trim_index(json.loads((folder / f"{name}.json").read_text()))
        (HERE / f"{name}.json").write_text(json.dumps(index, indent=1) + "\n")
        print(name, (HERE / f"{name}.npz").stat().st_size)
    names = json.loads((folder / "state_dict_base.json").read_text())
    (HERE / "state_dict_base.json").write_text(json.dumps(names, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
