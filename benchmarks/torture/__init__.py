"""What the device half is put through: `make torture` does it all and prints one table; `make test` does a little of each.

Each module of `__main__.PARTS` owns one kind of harm and has `run(say) -> list[Row]`.
"""
