"""The systems that the trainer trains."""
