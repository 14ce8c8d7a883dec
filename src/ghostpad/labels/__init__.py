"""Labels out: latent actions of whole data sets."""
