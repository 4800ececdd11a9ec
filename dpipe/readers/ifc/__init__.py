"""Imaging flow cytometry: folders of HDF5 files, one a cell."""
