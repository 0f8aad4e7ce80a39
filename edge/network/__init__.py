"""The frozen network on whichever runtime is here: pictures in, embeddings out.
May import `bundle`, `picture`, `unknown`, `modelfile` and `system`."""
