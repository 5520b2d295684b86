"""The workload `digits_spiking`: a spiking network that tells handwritten digits apart, and the script that makes it."""
