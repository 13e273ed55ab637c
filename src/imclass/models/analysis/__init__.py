"""Layer-by-layer analysis of networks and changes to them: data flow, geometry, activations, surgery."""
