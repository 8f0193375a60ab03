import math

import pytest
import torch
from torch import Generator
from torch.nn import functional as F

from dgl_moleblend.models import objectives


def everything(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def test_spd_classes_by_hand() -> None:
    spd = torch.tensor([[[0, 1, 2], [10, 11, 12], [40, 300, -1]]], dtype=torch.int16)
    expected = [[[-100, 0, 1], [9, 10, 10], [10, 10, -100]]]
    assert objectives.spd_classes(spd, everything(1, 3, 3)).tolist() == expected
    mask = everything(1, 3, 3)
    mask[0, 1] = False
    expected[0][1] = [-100] * 3
    assert objectives.spd_classes(spd, mask).tolist() == expected


def test_bond_path_classes_by_hand() -> None:
    """All 60 ids: 24 of the first 4 types and 3 stereo words have a class, in the order of the ids."""
    ids = torch.arange(-1, 64).view(1, 1, 13, 5).expand(1, 13, 13, 5).to(torch.int8)
    classes = objectives.bond_path_classes(ids, everything(1, 13, 13))[0, 0].flatten().tolist()
    of_id = dict(zip(range(-1, 64), classes, strict=True))
    for kind in range(5):
        for stereo in range(6):
            for conjugated in range(2):
                wanted = 6 * kind + 2 * stereo + conjugated if kind < 4 and stereo < 3 else -100
                assert of_id[12 * kind + 2 * stereo + conjugated] == wanted
    assert of_id[-1] == of_id[60] == of_id[63] == -100
    assert sorted(c for c in classes if c >= 0) == list(range(24))
    mask = everything(1, 13, 13)
    mask[0, 2, 3] = False
    masked = objectives.bond_path_classes(ids, mask)
    assert (masked[0, 2, 3] == -100).all()
    assert (masked[0, 2, 4] == torch.tensor(classes).view(13, 5)[4]).all()


def test_classification_by_hand() -> None:
    logits = torch.zeros(1, 2, 2, 3)
    logits[0, 0, 1] = torch.tensor([math.log(2.0), 0.0, 0.0])  # shares 1/2, 1/4, 1/4
    logits[0, 1, 0] = 77.0
    classes = torch.tensor([[[-100, 0], [-100, 2]]])
    expected = (math.log(2) + math.log(3)) / 2
    assert math.isclose(objectives.classification_loss(logits, classes).item(), expected, rel_tol=1e-6)


@pytest.mark.parametrize("shape", [(2, 4, 4, 11), (2, 4, 4, 5, 24)])
def test_classification_is_torchs_mean_over_what_counts(shape: tuple, generator: Generator) -> None:
    logits = torch.randn(shape, generator=generator, requires_grad=True)
    classes = torch.randint(-1, shape[-1], shape[:-1], generator=generator)
    classes[classes < 0] = -100
    loss = objectives.classification_loss(logits, classes)
    expected = F.cross_entropy(logits.reshape(-1, shape[-1]), classes.flatten())
    assert torch.allclose(loss, expected)
    for one, other in zip(torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_nothing_to_classify_is_0_with_a_gradient_of_0() -> None:
    logits = torch.randn(1, 2, 2, 11, requires_grad=True)
    loss = objectives.classification_loss(logits, torch.full((1, 2, 2), -100))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_direction_by_hand() -> None:
    displacement = torch.zeros(2, 2, 2, 3)
    displacement[..., 0] = 2.0
    prediction = torch.zeros(2, 2, 2, 3)
    prediction[0, 0, 1] = torch.tensor([5.0, 0.0, 0.0])  # same direction: 0
    prediction[0, 1, 0] = torch.tensor([0.0, 1.0, 0.0])  # at right angles: 1
    prediction[1, 0, 1] = torch.tensor([-0.1, 0.0, 0.0])  # opposite: 2
    mask = torch.zeros(2, 2, 2, dtype=torch.bool)
    mask[0, 0, 1] = mask[0, 1, 0] = mask[1, 0, 1] = True
    # mean of the first molecule 0.5, of the second 2; molecules count alike, however many pairs they have
    assert math.isclose(objectives.direction_loss(prediction, displacement, mask).item(), 1.25, rel_tol=1e-6)
    mask[1] = False
    assert math.isclose(objectives.direction_loss(prediction, displacement, mask).item(), 0.5, rel_tol=1e-6)


def test_distance_by_hand() -> None:
    prediction = torch.tensor([[[9.0, 1.5], [4.0, 9.0]], [[0.0, 1.0], [1.0, 0.0]]])
    distance = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])
    mask = ~torch.eye(2, dtype=torch.bool).expand(2, 2, 2)
    # smooth L1: 0.5 * 0.5**2 = 0.125 below one angstrom, 3 - 0.5 = 2.5 above; the second molecule is exact
    expected = ((0.125 + 2.5) / 2 + 0.0) / 2
    assert math.isclose(objectives.distance_loss(prediction, distance, mask).item(), expected, rel_tol=1e-6)


def test_denoising_by_hand() -> None:
    noise = torch.tensor([[[1.0, 0.0, 0.0]] * 3, [[0.0, 0.0, 2.0]] * 3])
    prediction = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0], [-9.0, 0, 0]], [[0, 0, 0.3], [0, 0, -5], [0, 0, 0]]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    # of all atoms that count: 0, 1 and 2
    assert math.isclose(objectives.denoising_loss(prediction, noise, mask).item(), 1.0, rel_tol=1e-6)


@pytest.mark.parametrize("loss", ["direction", "distance", "denoising"])
def test_nothing_to_score_is_0_with_a_gradient_of_0(loss: str) -> None:
    shape = {"direction": (2, 3, 3, 3), "distance": (2, 3, 3), "denoising": (2, 3, 3)}[loss]
    prediction = torch.zeros(shape, requires_grad=True)
    mask = torch.zeros(shape[:2] if loss == "denoising" else shape[:3], dtype=torch.bool)
    value = getattr(objectives, f"{loss}_loss")(prediction, torch.zeros(shape), mask)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(prediction.grad).all()
    assert not prediction.grad.any()


def test_half_precision_predictions_are_scored_in_single_precision() -> None:
    distance = torch.full((1, 2, 2), 9.73)
    prediction = torch.full((1, 2, 2), 9.75, dtype=torch.bfloat16)
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    expected = 0.5 * 0.02**2  # 0 where the target is rounded as well
    assert math.isclose(objectives.distance_loss(prediction, distance, mask).item(), expected, rel_tol=1e-3)
    noise = torch.tensor([[[1.0, 0.003, 0.0]]])
    for loss, shape in ((objectives.denoising_loss, (1, 1)), (objectives.direction_loss, (1, 1, 1))):
        truth = noise.expand(*shape, 3)
        value = loss(truth.bfloat16(), truth, torch.ones(shape, dtype=torch.bool))
        assert value.dtype == torch.float32
        assert value.item() < 1e-4
