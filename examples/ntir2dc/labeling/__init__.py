"""Label maps of color images, predicted by pretrained segmentation networks.

``teacher`` runs a network, ``names`` brings its classes to a label space, ``predicting`` fills a folder, ``sheet``
shows what came out.
"""
