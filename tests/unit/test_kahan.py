"""Weights of few bits with compensation: the identity of the rule, its formats, training, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError, ModelError
from neurosim.train.kahan import (
    FixedFormat,
    KahanOptions,
    KahanSgd,
    compensated_step,
    least_fraction,
    train_classifier,
)


def needs_torch() -> Any:
    return pytest.importorskip("torch", reason="the extra train is not installed")


@pytest.mark.parametrize("bits", [3, 8, 16])
def test_weight_less_compensation_is_the_exact_sum(bits: int) -> None:
    """Changes are whole steps of the compensation: integers here, added up apart from the rule."""
    rng = np.random.default_rng(bits)
    form = FixedFormat(bits, bits - 1)
    kept = form.compensation()
    weight, compensation = np.zeros(50), np.zeros(50)
    total = np.zeros(50, dtype=np.int64)
    steps = 1 << (bits - 1)  # Of the compensation in one of the weight.
    inside = (steps - 1) * steps
    for _ in range(500):
        change = rng.integers(-steps, steps + 1, 50)
        change = np.where(np.abs(total + change) < inside, change, 0)
        total += change
        weight, compensation = compensated_step(weight, compensation, change * kept.step, form, kept)
        np.testing.assert_array_equal((weight - compensation) / kept.step, total)
        assert np.abs(compensation).max() <= form.step / 2
        np.testing.assert_array_equal(weight, form.round(weight))
    assert np.abs(total).max() > steps


def test_steps_too_small_for_plain_rounding_add_up() -> None:
    form = FixedFormat(8, 7)
    plain, weight, compensation = np.zeros(1), np.zeros(1), np.zeros(1)
    for _ in range(64):
        plain = form.round(plain + form.step / 8)
        weight, compensation = compensated_step(
            weight, compensation, np.full(1, form.step / 8), form, form.compensation()
        )
    assert plain[0] == 0
    assert weight[0] == 8 * form.step


def test_a_format_rounds_halves_to_even_and_saturates() -> None:
    form = FixedFormat(4, 2)
    np.testing.assert_array_equal(
        form.round(np.array([0.125, 0.375, -0.125, 9.0, -9.0])), [0.0, 0.5, 0.0, 7 / 4, -8 / 4]
    )
    assert form.compensation() == FixedFormat(4, 5)
    assert form.compensation(8) == FixedFormat(8, 9)


@pytest.mark.parametrize(("classes", "bits"), [(2, 0), (4, 1), (10, 3), (16, 3), (1000, 9)])
def test_bits_before_a_softmax(classes: int, bits: int) -> None:
    assert least_fraction(classes) == bits


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="rate is 0; it must be above 0"):
        KahanOptions(0)
    with pytest.raises(ModelError, match="a format of 1 bits; choose 2 to 16"):
        FixedFormat(1, 0)
    for fraction in (-121, 127):
        with pytest.raises(ModelError, match=f"8 bits with {fraction} behind the point, .* choose -120 to 126"):
            FixedFormat(8, fraction)
    with pytest.raises(InputError, match="softmax of 1 classes"):
        least_fraction(1)
    with pytest.raises(InputError, match="given for weights in float32"):
        KahanOptions(0.1, bits=None, layer_bits={"0": 4})


def clusters(seed: int, samples: int = 600) -> tuple[Any, Any]:
    """Points around three corners."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    angle = labels * 2 * np.pi / 3
    return np.stack((np.cos(angle), np.sin(angle)), axis=1) + rng.normal(0, 0.3, (samples, 2)), labels


def small_net(torch: Any) -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 40), torch.nn.ReLU(), torch.nn.Linear(40, 3))


def test_eight_bits_train_as_float32_does_and_plain_rounding_does_not() -> None:
    torch = needs_torch()
    torch.set_num_threads(1)
    x, y = clusters(0)
    test, labels = clusters(1)
    errors = {}
    for name, options in (
        ("float32", KahanOptions(0.02, bits=None)),
        ("plain", KahanOptions(0.02, fractions={"": 5}, compensated=False)),
        ("kahan", KahanOptions(0.02, fractions={"": 5})),
    ):
        module = small_net(torch)
        train_classifier(module, x, y, options, epochs=10)
        with torch.no_grad():
            answers = module(torch.from_numpy(test.astype(np.float32))).argmax(dim=1).numpy()
        errors[name] = float((answers != labels).mean() * 100)
    assert errors["float32"] < 10
    assert errors["kahan"] < errors["float32"] + 3
    assert errors["plain"] > errors["float32"] + 10


def test_tensors_move_as_the_rule_says() -> None:
    """A convolution and a linear layer, moved once, against the rule in numpy; biases stay in float32."""
    torch = needs_torch()
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    optimizer = KahanSgd(
        module, KahanOptions(0.3, bits=6, compensation_bits=7, layer_bits={"0": 5}, fractions={"2": 4})
    )
    assert optimizer.formats == {"0": FixedFormat(5, 4), "2": FixedFormat(6, 4)}
    module(torch.rand(3, 1, 4, 4)).square().sum().backward()
    before = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    compensation = {name: c.numpy().copy() for name, c in optimizer.compensations.items()}
    slopes = {name: p.grad.numpy().copy() for name, p in module.named_parameters()}
    optimizer.step()
    for name, form in optimizer.formats.items():
        weight = f"{name}.weight"
        moved, kept = compensated_step(
            before[weight], compensation[name], np.float32(-0.3) * slopes[weight], form, form.compensation(7)
        )
        found = dict(module.named_parameters())
        np.testing.assert_array_equal(found[weight].detach().numpy(), moved)
        np.testing.assert_array_equal(optimizer.compensations[name].numpy(), kept)
        bias = f"{name}.bias"
        np.testing.assert_allclose(found[bias].detach().numpy(), before[bias] - 0.3 * slopes[bias], rtol=1e-5)
    optimizer.zero_grad()
    assert all(p.grad is None for p in module.parameters())


def test_what_training_refuses() -> None:
    torch = needs_torch()
    x, y = clusters(2, 60)
    with pytest.raises(InputError, match=r"labels: \[7\] is 3; the network has classes 0\.\.2"):
        train_classifier(small_net(torch), x, np.where(np.arange(60) == 7, 3, y), KahanOptions(0.1))
    wrong = x.copy()
    wrong[5, 1] = np.nan
    with pytest.raises(InputError, match=r"inputs: \[5, 1\] is nan"):
        train_classifier(small_net(torch), wrong, y, KahanOptions(0.1))
    with pytest.raises(InputError, match="choose a smaller rate"):
        train_classifier(small_net(torch), x, y, KahanOptions(1e30, bits=None))
    with pytest.raises(InputError, match=r'there is no layer "1"; layers are 0, 2'):
        KahanSgd(small_net(torch), KahanOptions(0.1, layer_bits={"1": 4}))
    with pytest.raises(ModelError, match="layer 2: 2 bits behind the point; before a softmax of 16 classes 3 or more"):
        KahanSgd(small_net(torch), KahanOptions(0.1, layer_bits={"2": 3}), classes=16)
    with pytest.raises(ModelError, match="no linear or convolutional layers"):
        KahanSgd(torch.nn.ReLU(), KahanOptions(0.1))
    with pytest.raises(InputError, match="epochs is 0"):
        train_classifier(small_net(torch), x, y, KahanOptions(0.1), epochs=0)
