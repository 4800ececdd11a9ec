"""Operators over tables: groups, gates, samples, splits, statistics."""
