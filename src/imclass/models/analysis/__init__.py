"""Layer-by-layer analysis and modification of networks: data flow, geometry, activations and surgery."""
