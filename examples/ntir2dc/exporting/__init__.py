"""A translator as files that run without this repository.

``graph`` makes ONNX and ``torch.export`` of it, ``smaller`` float16 and int8; ``parity`` compares them with torch.
"""
