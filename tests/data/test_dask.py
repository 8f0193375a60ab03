"""A dask cluster does the work of the local pool, and writes the same bytes."""

from pathlib import Path

import pytest

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.molecules import MoleculeReader
from dgl_moleblend.data.pipeline import PipelineConfig, featurize_to_store

distributed = pytest.importorskip("distributed")


def test_a_local_dask_cluster(tmp_path):
    smiles = ["CCO", "c1ccccc1", "C1CC", "CC(C)O", "[Na+].[Cl-]"]
    path = tmp_path / "in.smi"
    path.write_text("\n".join(smiles * 20) + "\n")
    config = PipelineConfig(FeaturizerConfig("embed", seed=3))
    options = {"shard_size": 30}
    featurize_to_store(MoleculeReader(path), tmp_path / "alone", config, **options)
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor(pure=False)
        store = featurize_to_store(
            MoleculeReader(path), tmp_path / "dask", config, executor=executor, workers=1, **options
        )
    assert len(store) == 80

    def content(folder: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    assert content(tmp_path / "dask") == content(tmp_path / "alone")
