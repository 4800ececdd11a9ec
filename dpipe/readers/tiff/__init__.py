"""TIFF: movies, OME-TIFF, ImageJ, Micro-Manager, ScanImage, numbered series."""
