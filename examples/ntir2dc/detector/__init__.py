"""Objects in pictures: boxes, average precision, and the detector of persons and cars in scenes that is shipped.

It was trained apart, on true day images alone, as the judges were.
"""

from ntir2dc.detector.average_precision import IOU, FrameBoxes, average_precision, frame_boxes, match
from ntir2dc.detector.network import CLASSES, Detector, detect
from ntir2dc.detector.shipped import load_detector

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
