"""Networks of ``transformers`` that others have trained; nothing here is imported where none is asked for.

``loading`` reads one from a folder or the hub, ``names`` brings its classes to those of a label space, ``teacher`` runs
a segmentation network on pictures, ``segmenter`` inside a training.
"""
