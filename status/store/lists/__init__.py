"""What lists and overviews read: filters, light rows, counts, curves. Nothing here writes."""
