"""What the device half is put through: `make torture` does all of it and prints one table, `make test` a little.

Each module of `__main__.PARTS` owns one kind of harm and has `run(say) -> list[Row]`.
"""
