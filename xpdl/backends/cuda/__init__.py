"""What only CUDA has: graphs, kernels of several stages, streams, cuBLAS, dropout bits."""
