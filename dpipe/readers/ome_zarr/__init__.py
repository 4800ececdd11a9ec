"""OME-Zarr, 0.1 to 0.6: images and their labels."""
