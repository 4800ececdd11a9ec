"""Operators over packed pictures of single cells."""
