"""From the tree of a data set, as it lies on disk, to the folders that training and evaluation read.

``plan`` says what becomes of which file; ``flir`` and ``kaist`` know the trees, ``sides`` day from night; ``geometry``
places a frame, ``boxes`` moves what was marked on it, ``writing`` writes.
"""
