"""Objects in pictures: boxes, average precision, and a detector of persons and cars in procedural scenes.

It is trained apart, on true day images alone, as the judges are.
"""

from ntir2dc.detector.average_precision import IOU, FrameBoxes, average_precision, frame_boxes, match
from ntir2dc.detector.network import CLASSES, Detector, detect
from ntir2dc.detector.weights import load_detector

__all__ = [
    "CLASSES",
    "IOU",
    "Detector",
    "FrameBoxes",
    "average_precision",
    "detect",
    "frame_boxes",
    "load_detector",
    "match",
]
