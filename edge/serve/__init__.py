"""`edge serve`: teach, watch and review in a browser; needs the extra `web`.
May import `watch`, `care`, the learner and everything below it.

`run` starts everything; `engine` is the one thread that owns the home and the network; `live` holds what all viewers
see; `guard` decides who may come in; `app` lists the addresses, and `teach`, `review` and `learn` answer them.
"""
