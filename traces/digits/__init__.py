"""The workload `digits`: a spiking network that tells handwritten digits apart, and the script that makes it."""
