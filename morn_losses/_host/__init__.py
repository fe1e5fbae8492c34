"""Kernels for the CPU: what is defined readably elsewhere, tuned; tests hold both to the same bits."""
