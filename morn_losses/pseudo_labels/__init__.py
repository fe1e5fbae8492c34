"""Denoising, fusion and mining of pseudo-labels (section 3.3)."""
