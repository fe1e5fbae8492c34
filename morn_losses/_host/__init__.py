"""Kernels for the CPU: what the equations beside their losses say, in fewer passes over memory."""
