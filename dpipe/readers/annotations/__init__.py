"""Annotated pictures: files of annotations with the pictures that they name."""
