"""The bar of a prediction: it goes with all that is done of a step, and is full when the last row is."""

from types import SimpleNamespace

import pytest
from commands import SMILES, succeed

from dgl_moleblend.data.dataset import MoleculeDataset
from dgl_moleblend.predict import work
from dgl_moleblend.predict.jobs import Prediction
from dgl_moleblend.predict.screen import Files
from dgl_moleblend.predict.work import EMBEDDING, WorkProgress
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.stages import heard, stage


class Chunk(list):
    rejects = ()


def reading(ends):
    """Steps of ten rows, and the reader, which is at these ends after each."""
    reader = SimpleNamespace(total_bytes=ends[-1], bytes_read=0)

    def steps():
        for number, reader.bytes_read in enumerate(ends):
            yield number, [None] * 10

    return reader, steps()


@pytest.mark.parametrize("embeds", [False, True])
def test_a_step_is_done_by_and_by(embeds):
    reader, steps = reading([600, 1200])
    bar = WorkProgress(reader, True, 2, embeds=embeds)
    [*bar.watch(steps)]  # both are read before one is computed
    before, seen = (EMBEDDING if embeds else 1), []
    with bar:
        for begin in (0, 600):
            bar.featurized(Chunk([None] * 5))
            seen.append((bar._bar.n - begin) / 600 * (before + 2))
            bar.featurized(Chunk([None] * 5))
            with bar.computing():
                for name in ("features", "predict"):
                    with stage(name, 4, shown=False) as advance:
                        advance(2)
                        seen.append((bar._bar.n - begin) / 600 * (before + 2))
                        advance(2)
            assert bar._bar.n == begin + 600
        assert "20 rows" in bar._bar.desc
    assert seen == pytest.approx([before / 2, before + 0.5, before + 1.5] * 2, abs=0.03)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Trees and kernel machine on features, and three networks."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "train.csv").write_text("smiles,size\n" + "".join(f"{s},{len(s)}\n" for s in SMILES))
    models = []
    for head, more in {"kernel": (), "network": ("--size", "tiny", "--epochs", 1)}.items():
        succeed("finetune", folder / "train.csv", "--tasks", "size", "--split", "random", "--head", head, *more,
                "--quiet", "--workers", 0, "-o", folder / head)  # fmt: skip
        models.append(str(folder / head))
    return Prediction(tuple(models)), folder / "train.csv"


def test_as_many_stages_are_told_as_there_are(several):
    job, _ = several
    told = []
    with heard(lambda name, share: told.append((name, share))):
        job.tabulate(MoleculeDataset.from_smiles(SMILES))
    assert [name for name, share in told if share == 0] == ["features", "predict"]
    assert job.stages == 2
    assert [name for name, share in told if share == 1] == ["features", "predict"]


@pytest.mark.parametrize("size", [40, 10])
def test_the_bar_is_full_when_the_last_row_is_done_and_not_before(several, size, monkeypatch):
    job, path = several
    bars, places = [], []
    real = work.tqdm
    monkeypatch.setattr(work, "tqdm", lambda **how: bars.append(real(**how)) or bars[-1])
    tabulate = Prediction.tabulate

    def watched(self, dataset, *args, **how):
        places.append(bars[0].n / bars[0].total)
        return tabulate(self, dataset, *args, **how)

    monkeypatch.setattr(Prediction, "tabulate", watched)
    steps = Files(MoleculeReader(path)).steps(job, size=size, progress=True)
    after = [bars[0].n / bars[0].total for _ in steps]
    assert len(places) == len(after) == -(-len(SMILES) // size)
    assert max(places) < 1
    assert places == sorted(places)
    assert after[-1] == 1
    assert places[-1] < after[-1]
