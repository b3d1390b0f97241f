"""Objects under keys: one behaviour on a directory and on S3, and a value that changes by compare-and-swap on it."""
