"""Training loops that need PyTorch (the extra `train`); PyTorch is imported when one of them starts."""

from neurosim.train.hybrid import HybridTraining, train_hybrid
from neurosim.train.hybrid_lmu import LmuData, LmuTraining, Trained, measure_lmu, train_lmu
from neurosim.train.kahan import FixedFormat, KahanOptions, KahanSgd, train_classifier
from neurosim.train.spiking import LifTraining, train_lif
from neurosim.train.spiking_network import LifForm, to_lif_network

__all__ = [
    "FixedFormat",
    "HybridTraining",
    "KahanOptions",
    "KahanSgd",
    "LifForm",
    "LifTraining",
    "LmuData",
    "LmuTraining",
    "Trained",
    "measure_lmu",
    "to_lif_network",
    "train_classifier",
    "train_hybrid",
    "train_lif",
    "train_lmu",
]
