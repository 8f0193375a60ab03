"""The encoder's parts: relation biases, blending, attention, layer, encoder, read-out."""
