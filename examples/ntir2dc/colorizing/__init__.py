"""From thermal frames, in files, folders or videos, to color ones.

``sources`` says what becomes of which file, ``translating`` runs the network on frames of any size, ``tiles`` on large
ones piece by piece; ``pictures`` writes files, ``video`` reads and writes videos, ``flicker`` measures how steady they
are.
"""
