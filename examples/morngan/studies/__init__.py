"""The report card: one experiment for each module of the paper, on procedural scenes whose truth is known."""
