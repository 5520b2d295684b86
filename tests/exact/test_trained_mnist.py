"""Training on the real MNIST images, as docs/methods.md reports it; minutes, so only with -m slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scripts() -> Any:
    """The scripts whose figures the documentation gives."""
    torch = pytest.importorskip("torch", reason="the extra train is not installed")
    torch.set_num_threads(1)
    import convert_mnist
    import train_kahan
    import train_lif

    return convert_mnist, train_kahan, train_lif


def test_eight_bits_with_compensation_train_as_float32_and_without_it_fail(reference_data: Path, scripts: Any) -> None:
    convert_mnist, train_kahan, _ = scripts
    folder = reference_data / "mnist_mlp"
    x, y = convert_mnist.mnist(folder, "train")
    test, labels = convert_mnist.mnist(folder, "t10k")
    x, test = x.astype(np.float32) / 255, test.astype(np.float32) / 255
    errors = {name: train_kahan.train(x, y, test, labels, 0.1, 0, kept) for name, kept in train_kahan.KEPT}
    print(errors)
    assert errors["float32"] < 3.5
    assert errors["8 bits, Kahan"] < errors["float32"] + 0.3
    assert errors["8 bits, plain"] > errors["float32"] + 5


def test_leaky_neurons_read_97_percent_in_integers(reference_data: Path, scripts: Any) -> None:
    """784-300-10, trained for 4 epochs, all 10,000 test images in a stream through the engine's functional step."""
    from neurosim.train.spiking import LifTraining, train_lif
    from neurosim.train.spiking_network import LifForm, to_lif_network

    convert_mnist, _, script = scripts
    folder = reference_data / "mnist_mlp"
    x, y = convert_mnist.mnist(folder, "train")
    test, labels = convert_mnist.mnist(folder, "t10k")
    form = LifForm(timesteps=10, spikes=5, tau=20.0, inhibition=0.02)
    weights = train_lif(x, y.astype(np.int64), [300], form, LifTraining(epochs=4, rate=2e-3))
    answers, messages, synops = script.stream_answers(to_lif_network(weights, form), test, form)
    accuracy = float((answers.argmax(axis=1) == labels).mean() * 100)
    print(accuracy, messages, synops)
    assert accuracy >= 97.0
