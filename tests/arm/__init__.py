"""The device half on real aarch64 Debian, emulated: `make test-arm` and `make test-vm`.

Numbers are those of a Raspberry Pi's processor to the last bit; speed means nothing. What emulates lies beside the
checkout, in ../shared/tools; where it is absent, all of this is skipped with the reason.
"""
