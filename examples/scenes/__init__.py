"""Procedural street scenes: one geometry seen by day in color and at night in thermal infrared, with its truth."""

from scenes.folder import write_scenes
from scenes.predictions import predict_labels
from scenes.render import Box, Scene, render_scene

__all__ = ["Box", "Scene", "predict_labels", "render_scene", "write_scenes"]
