"""Small runs, comparisons and experiments that several tests share."""
