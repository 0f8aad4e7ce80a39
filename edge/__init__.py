"""edge: the device half of edge-transfer. Runs a bundle and retrains its last layer from a few examples.

Owns the version, and nothing else: `import edge` stays free of every heavy import. The pieces, in the order in
which data flows: `preprocess` (image file → pixels), `backbone` (pixels → embedding), `head` (embedding → scores),
and `learner`, where all meet over a home on disk.
"""

__version__ = "0.1.0"
