"""The ablation study: frozen scenes and judge, rows that share seeds, paired contrasts, tables and pictures."""
