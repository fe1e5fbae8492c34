"""The training of the detector that is shipped: its scenes, its targets, its training."""
