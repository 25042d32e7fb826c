"""Labels: made, read from CSV files, and published."""
