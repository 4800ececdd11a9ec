"""Operators over the frames of movies: quality, projections, thumbnails, cells."""
