"""Kernels of single pictures, compiled."""
