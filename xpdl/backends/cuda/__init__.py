"""What only CUDA has: graphs, streams, cuBLAS, kernels of several stages, dropout bits."""
