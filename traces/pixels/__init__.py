"""Handwritten digits, one pixel a timestep, on a Legendre memory unit with quantised messages: files and scripts."""
