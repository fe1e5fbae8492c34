"""The reference trainer of morn-losses: networks, data, objective, schedule and the training loop."""
