"""Training loops that need PyTorch (the extra `train`); PyTorch is imported when one of them starts."""

from neurosim.train.hybrid_lmu import LmuData, LmuTraining, Trained, measure_lmu, train_lmu

__all__ = ["LmuData", "LmuTraining", "Trained", "measure_lmu", "train_lmu"]
