"""Analysis of networks layer by layer, and changes to them: data flow, geometry, activations, surgery."""
