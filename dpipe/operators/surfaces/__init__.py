"""Operators over closed surfaces: masks and measures."""
