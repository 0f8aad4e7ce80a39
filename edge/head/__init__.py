"""The mathematics of the last layer: from labelled embeddings to a head, every choice made by leave-one-out.
May import numpy and the standard library."""
