"""The training of the detector: its scenes, its targets, its training."""
