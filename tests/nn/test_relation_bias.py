import math

import torch
from molecules import lively
from torch import Generator

from dgl_moleblend.nn.relation_bias import BondPathBias, DistanceBias, SpdBias


def test_spd_bias_has_a_row_per_distance_and_one_for_no_path() -> None:
    bias = SpdBias(num_heads=2, max_dist=3)
    with torch.no_grad():
        bias.embedding.weight[:] = torch.arange(10.0).view(5, 2)
    actual = bias(torch.tensor([[0, 1, 2, 3], [4, 100, 32000, -1]], dtype=torch.int16))
    assert actual[..., 0].tolist() == [[0, 2, 4, 6], [6, 6, 6, 8]]  # longer than max_dist: its row
    assert actual[..., 1].tolist() == [[1, 3, 5, 7], [7, 7, 7, 9]]


def test_bond_path_bias_follows_the_formula(generator: Generator) -> None:
    bias = lively(BondPathBias(num_heads=3))
    bias.no_bond += torch.tensor([0.3, -0.2, 0.1])
    length = torch.tensor([0, 1, 2, 5, 9, -1])
    path = torch.full((6, 5), -1)
    for k, hops in enumerate((0, 1, 2, 5, 5, 0)):
        path[k, :hops] = torch.randint(60, (hops,), generator=generator)
    actual = bias(path.to(torch.int8), length.to(torch.int16))
    for k in range(6):
        total = torch.zeros(3, dtype=torch.float64)
        for p, bond in enumerate(path[k].tolist()):
            kind, stereo, conjugated = bond // 12, bond // 2 % 6, bond % 2
            rows = bias.embedding.weight[[kind, 5 + stereo, 11 + conjugated]]
            hop = rows.mean(0) if bond >= 0 else bias.no_bond
            total = total + hop @ bias.hop_weight[p]
        divisor = [1, 1, 2, 5, 5, 5][k]  # no path counts as a long one
        assert torch.allclose(actual[k], total / divisor, atol=1e-12), k


def test_every_bond_id_has_its_own_value(generator: Generator) -> None:
    bias = lively(BondPathBias(num_heads=4))
    path = torch.full((61, 5), -1)
    path[:60, 0] = torch.arange(60)
    values = bias(path, torch.ones(61, dtype=torch.long))
    assert len(torch.unique(values, dim=0)) == 61


def test_the_row_of_no_bond_is_kept_but_not_trained() -> None:
    bias = BondPathBias(num_heads=4)
    assert "no_bond" in bias.state_dict()
    assert "no_bond" not in dict(bias.named_parameters())


def test_distance_bias_follows_the_formula(generator: Generator) -> None:
    bias = lively(DistanceBias(num_heads=2, num_kernels=4))
    distance = 5 * torch.rand(3, 3, generator=generator, dtype=torch.float64)
    number = torch.tensor([5, 7, 118])
    actual = bias(distance, number[:, None], number[None, :])
    for i in range(3):
        for j in range(3):
            gamma = bias.gamma_query[number[i]] + bias.gamma_key[number[j]]
            x = gamma * distance[i, j] + bias.beta_query[number[i]] + bias.beta_key[number[j]]
            sigma = bias.gaussian.width.abs() + 0.01
            kernels = torch.exp(-(((x - bias.gaussian.center) / sigma) ** 2) / 2) / (math.sqrt(2 * math.pi) * sigma)
            hidden = bias.hidden.weight @ kernels + bias.hidden.bias
            gelu = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
            assert torch.allclose(actual[i, j], bias.out.weight @ gelu + bias.out.bias, atol=1e-12)
    assert not torch.allclose(actual[0, 1], bias(distance, number[None, :], number[:, None])[0, 1])  # query, key


def test_fresh_scale_is_one_and_shift_zero() -> None:
    bias = DistanceBias(num_heads=2, num_kernels=4)
    assert torch.equal(bias.gamma_query + bias.gamma_key, torch.ones(119))
    assert not (bias.beta_query + bias.beta_key).any()
