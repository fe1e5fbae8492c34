"""MornGAN: schedule, forward, pseudo-labels, objective."""
