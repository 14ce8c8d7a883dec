"""The latent action model: encoder, quantizer, decoder and losses."""
