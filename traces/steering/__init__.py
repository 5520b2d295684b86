"""A small sigma-delta network that reads the steering angle from a drawn driving video."""
