"""Imaris: movies, spots and surfaces of one file."""
