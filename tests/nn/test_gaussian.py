import math

import torch

from dgl_moleblend.nn.gaussian import GaussianKernels, gaussian_kernels


def test_kernels_follow_the_formula() -> None:
    distance = torch.tensor([[0.0, 1.5], [7.0, 0.3]], dtype=torch.float64)
    center, width = torch.tensor([0.0, 1.5, 3.0]).double(), torch.tensor([0.01, 0.5, 2.0]).double()
    actual = gaussian_kernels(distance, center, width)
    for i in range(2):
        for j in range(2):
            for k in range(3):
                r, mu, sigma = distance[i, j].item(), center[k].item(), width[k].item()
                expected = math.exp(-((r - mu) ** 2) / (2 * sigma**2)) / (math.sqrt(2 * math.pi) * sigma)
                assert math.isclose(actual[i, j, k], expected, rel_tol=1e-12, abs_tol=1e-26)


def test_a_kernel_has_area_one() -> None:
    grid = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    area = gaussian_kernels(grid, torch.tensor([0.0, 1.0]).double(), torch.tensor([0.2, 1.7]).double()).sum(0) * 1e-3
    assert torch.allclose(area, torch.ones(2, dtype=torch.float64), atol=1e-9)


def test_width_is_never_zero_and_its_sign_does_not_matter() -> None:
    kernels = GaussianKernels(2)
    with torch.no_grad():
        kernels.center[:] = 1.0
        kernels.width[:] = torch.tensor([0.5, -0.5])
        one, other = kernels(torch.tensor([0.7])).T
        assert torch.equal(one, other)
        kernels.width[:] = 0.0
        assert math.isclose(kernels(torch.ones(1))[0, 0].item(), 1 / (math.sqrt(2 * math.pi) * 0.01), rel_tol=1e-5)


def test_distant_pairs_and_narrow_kernels_have_finite_gradients() -> None:
    kernels = GaussianKernels(3)
    with torch.no_grad():
        kernels.width[:] = torch.tensor([0.0, 1e-3, 3.0])
    distance = torch.tensor([0.0, 1.0, 1e4], requires_grad=True)
    value = kernels(distance)
    value.sum().backward()
    for tensor in (value, distance.grad, kernels.center.grad, kernels.width.grad):
        assert torch.isfinite(tensor).all()


def test_fresh_kernels_tell_distances_apart_wherever_they_are_in_a_molecule() -> None:
    kernels = GaussianKernels(64)
    assert kernels.center.min() == 0
    assert kernels.center.max() == 12
    distance = torch.arange(0.5, 12.0, 0.5)
    values = torch.nn.functional.normalize(kernels(distance), dim=1)
    alike = values @ values.T - 2 * torch.eye(len(distance))
    assert alike.max() < 0.7  # neighbours half an angstrom apart; within 3 angstrom alone, 8 and 9 are alike to 0.99


def test_no_kernel_is_so_small_that_products_with_it_are_slow() -> None:
    """Numbers below 1e-38 take a processor's slow path; 1e-26 is nothing beside the kernels that a sum also holds."""
    distance = torch.linspace(0, 20, 4001, requires_grad=True)
    out = gaussian_kernels(distance, torch.linspace(0, 3, 16), torch.linspace(0.05, 1, 16))
    assert ((out == 0) | (out > 1e-27)).all()
    assert (out == 0).any()
    (1e-8 * out).sum().backward()
    assert torch.isfinite(distance.grad).all()
