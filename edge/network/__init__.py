"""The frozen network on the installed runtime: pictures in, embeddings out.
May import `bundle`, `picture`, `unknown`, `modelfile` and `system`."""
