"""Modules for CUDA only: graphs, kernels of several stages, streams, cuBLAS, dropout masks."""
