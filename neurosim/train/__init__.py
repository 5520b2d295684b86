"""Training of networks in the forms that chips run; needs the extra ``train`` (PyTorch)."""
