"""The workload `digits_spiking`: a spiking network that tells digits apart, and the script that makes it."""
