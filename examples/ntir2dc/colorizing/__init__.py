"""From thermal frames, in files, folders or videos, to color ones.

``sources`` says what becomes of which file, ``translating`` runs the network as it is asked for, on frames of any size
(``sizes``) and on large ones in ``tiles``; ``pictures`` writes files, ``video`` reads and writes videos, ``flicker``
measures how steady they are.
"""
