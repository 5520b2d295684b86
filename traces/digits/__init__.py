"""Digits: one small convolutional network, converted by each method that sends rounded values."""
