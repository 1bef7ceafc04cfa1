# Fuzz harnesses; their seeds are replayed by make check.
