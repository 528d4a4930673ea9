"""Learning to reweight examples for robust deep learning (Ren et al., ICML 2018), exact and for any model."""
