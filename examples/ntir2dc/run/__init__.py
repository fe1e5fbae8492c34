"""What a run leaves behind and how it ends: checkpoints, weights, log, panels, faults."""
