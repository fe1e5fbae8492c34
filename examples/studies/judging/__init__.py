"""The training of the judges that are shipped: their scenes, their training, their marks."""
