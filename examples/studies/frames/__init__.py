"""How like real frames procedural scenes are."""
