"""Label maps of color images, predicted by pretrained segmentation networks.

``predicting`` fills a folder, ``sheet`` shows what came out.
"""
