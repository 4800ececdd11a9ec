"""Kernels of batches of pictures, on CUDA."""
