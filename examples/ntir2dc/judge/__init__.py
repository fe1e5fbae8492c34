"""The segmentation network that judges translations: trained apart, on true day images and their labels alone.

It sees neither the night images nor the generators, and no generator is ever trained by it.
"""

from ntir2dc.judge.crops import Crops, Pair, judge_pairs
from ntir2dc.judge.hashes import hash_files, hash_weights
from ntir2dc.judge.network import Judge
from ntir2dc.judge.scores import class_iou, confusion_matrix, mean_iou, predict
from ntir2dc.judge.training import STEPS, load_or_train_judge, train_judge

__all__ = [
    "STEPS",
    "Crops",
    "Judge",
    "Pair",
    "class_iou",
    "confusion_matrix",
    "hash_files",
    "hash_weights",
    "judge_pairs",
    "load_or_train_judge",
    "mean_iou",
    "predict",
    "train_judge",
]
