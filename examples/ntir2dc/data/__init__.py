"""Data of the reference trainer: procedural scenes, image folders and pairing."""
