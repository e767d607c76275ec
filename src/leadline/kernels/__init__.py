"""Compiled kernels: a binary convolution of packed bits."""
