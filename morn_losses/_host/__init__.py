"""Kernels for the CPU; where each is chosen, the plain equation stands beside it."""
