"""Recognition: what a file is, by its own marks, whatever text encoding it came in."""
