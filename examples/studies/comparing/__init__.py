"""The study of the methods: their runs, and the table."""
