"""A fuzzer of the readers: valid inputs, ways to spoil them, and what counts as a good end."""
