"""`edge serve`: teach, watch and review in a browser. It needs the extra `web`, and no other command imports it.

`run` starts everything; `engine` is the one thread that owns the home and the network; `live` is what all viewers see;
`guard` decides who may; `app` lists the addresses, and `teach`, `review` and `learn` answer them.
"""
