"""What segmenters learn, and how right their labels are."""
