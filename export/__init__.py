"""export: the workstation half of edge-transfer. Turns a pretrained backbone and a folder of photos into a bundle.

May import `edge`; `edge` never imports this package.
"""
