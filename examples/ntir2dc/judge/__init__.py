"""The segmentation networks that judge translations: trained apart, on true day images and their labels alone.

They see neither the night images nor the generators, and no generator is ever trained by them. Two are shipped, for
procedural scenes; a folder of real frames can bring the images that train one.
"""

from ntir2dc.judge.choice import Choice, Judges, are_known_scenes, find_judges
from ntir2dc.judge.crops import Crops, Pair, judge_pairs
from ntir2dc.judge.hashes import hash_files, hash_weights
from ntir2dc.judge.network import Judge
from ntir2dc.judge.scores import class_iou, confusion_matrix, mean_iou, predict
from ntir2dc.judge.shipped import SHIPPED, load_shipped
from ntir2dc.judge.training import STEPS, load_or_train_judge, train_judge

__all__ = [
    "SHIPPED",
    "STEPS",
    "Choice",
    "Crops",
    "Judge",
    "Judges",
    "Pair",
    "are_known_scenes",
    "class_iou",
    "confusion_matrix",
    "find_judges",
    "hash_files",
    "hash_weights",
    "judge_pairs",
    "load_or_train_judge",
    "load_shipped",
    "mean_iou",
    "predict",
    "train_judge",
]
