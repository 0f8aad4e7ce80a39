"""A contribution: the same examples give the same bytes, the bytes give the examples back, and all else is refused."""

import dataclasses
import hashlib
import json
import struct
import zlib
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import FleetError
from edge.fleet.contribution import CHUNK, MAGIC, Part, read, write, write_moments
from edge.fleet.header import MAX_EXAMPLES, Serves, canonical
from edge.head.moments import Moments, fixed
from tests.edge.fleet.taught import about, contribution, parts
from tests.refused import refused


def joined(parts: Iterable[Part]) -> Part:
    some = list(parts)
    return Part(*(np.concatenate([getattr(p, f.name) for p in some]) for f in dataclasses.fields(Part)))


def same(a: Part, b: Part) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Part))


@given(st.integers(1, 600), st.integers(0, 99), st.integers(1, 40))
@settings(max_examples=25)
def test_what_is_written_is_read_back_on_the_grid_and_writes_the_same_bytes_again(n: int, seed: int, d: int) -> None:
    data = contribution(n, seed, d)
    found = read("x", data)
    raw, whole = joined(parts(n, seed, d, 3)), joined(found.parts())
    assert same(whole, dataclasses.replace(raw, embeddings=fixed(raw.embeddings).astype(np.float32)))
    assert np.array_equal(whole.embeddings.astype(np.float64), fixed(raw.embeddings))
    assert write(found.about, found.parts()) == data


def test_a_contribution_of_a_device_that_was_taught_nothing_is_one() -> None:
    assert list(read("x", contribution(0)).parts()) == []
    assert read("x", contribution(0)).about.examples == 0


def test_the_bytes_are_those_of_the_format_page() -> None:
    """If this fails, either the format changed (raise FORMAT), or zlib packs otherwise than everywhere so far."""
    serves = Serves(12, "refused", "it is worse", 0.875)
    one = Part(
        np.arange(64, dtype=np.uint8).reshape(2, 32), np.array([0, 1], np.int32), np.array([-1, 3], np.int32),
        np.array([0, 1_700_000_000]), np.array([False, True]), np.array([[3, 4], [-4, 3]], np.float32),
    )  # fmt: skip
    data = write(dataclasses.replace(about(["cup", "mug"], [1, 1], 2, held_out=1), serves=serves), [one])
    text = (
        b'{"backbone":"tiny","counts":[1,1],"device":"0123456789abcdef0123456789abcdef","dimension":2,'
        b'"fingerprint":"' + b"f" * 64 + b'","fit":"crop","form":"examples","format":1,"held_out":1,"input_size":32,'
        b'"labels":["cup","mug"],"region":null,"runtime":"ONNX Runtime fp32","sequence":1,'
        b'"serves":{"accuracy":0.875,"release":12,"verdict":"refused","why":"it is worse"},'
        b'"taught":"2026-11-29T12:00:00+00:00"}'
    )
    whole = [[78643, 104858], [-104858, 78643]]  # 0.6, 0.8 in steps of 2⁻¹⁷
    zigzag = [[2 * v if v >= 0 else -2 * v - 1 for v in row] for row in whole]
    frame = bytes(range(64)) + struct.pack("<2H2i2q", 0, 1, -1, 3, 0, 1_700_000_000) + b"\x40"
    frame += bytes(zigzag[row][column] >> 8 * plane & 255 for plane in range(3) for column in (0, 1) for row in (0, 1))
    packed = zlib.compress(frame, 6)
    head = b"edgefleet1\n" + struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text))
    assert data == head + struct.pack("<II", len(packed), zlib.crc32(packed)) + packed
    assert hashlib.sha256(data).hexdigest() == GOLDEN


GOLDEN = "ba7a2e43fb4e5c7f7755e2ff5147fe40c79c8a538d4335ba99b9bf747eab9d4e"


def test_the_moments_of_either_form_are_those_of_the_examples_to_the_bit() -> None:
    found = read("x", contribution(700, 3, 20))
    whole = joined(found.parts())
    taught = ~whole.held_out
    names = [found.about.labels[i] for i in whole.labels[taught]]
    expected = Moments.of(whole.embeddings[taught], names)
    assert found.moments() == expected
    header = dataclasses.replace(
        found.about, form="moments", held_out=0, counts=tuple(int(n) for n in expected.counts), labels=expected.labels
    )
    told = read("x", write_moments(header, expected))
    assert told.moments() == expected
    with refused("contribution-invalid", FleetError, "--moments"):
        list(told.parts())


def test_a_contribution_has_about_two_bytes_for_each_number() -> None:
    """Random directions are the worst there is: nothing in them repeats."""
    data = contribution(600, 0, 992)
    assert len(data) / 600 <= 2.1 * 1024


def header(data: bytes) -> bytes:
    start = len(MAGIC) + 4
    return data[start : start + struct.unpack("<I", data[start - 4 : start])[0]]


def with_header(data: bytes, text: bytes) -> bytes:
    rest = data[len(MAGIC) + 4 + len(header(data)) + 4 :]
    return MAGIC + struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text)) + rest


def look(data: bytes) -> None:
    for _ in read("x", data).parts():
        pass


DATA = contribution(300, 1, 8)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 0), ("format", True), ("device", "x"), ("device", 3), ("sequence", 0), ("sequence", 10**10),
        ("form", "other"), ("form", []), ("dimension", 0), ("dimension", 1 << 40),
        ("fingerprint", ""), ("fit", "zoom"), ("fit", {}), ("region", "2,0,1,1"), ("region", "0, 0, 1, 1"),
        ("labels", ["b", "a", "c"]), ("labels", ["a", "a", "c"]), ("labels", ["a", "b", "../c"]), ("labels", "abc"),
        ("counts", [100, 100, -1]), ("counts", [1, 1]), ("counts", [MAX_EXAMPLES + 1, 1, 1]),
        ("held_out", -1), ("held_out", 301), ("taught", "a\nb"), ("backbone", "x" * 501),
        ("extra", 1),
    ],
)  # fmt: skip
def test_an_impossible_header_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    raw = {**json.loads(header(DATA)), field: value}
    with refused("contribution-invalid", FleetError, "x", field):
        look(with_header(DATA, canonical(raw)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"serves": None}, "header"),
        ({"serves": {"release": 1, "verdict": None, "why": "", "accuracy": None}}, "verdict"),
        ({"serves": {"release": None, "verdict": "accepted", "why": "", "accuracy": None}}, "verdict"),
        ({"serves": {"release": 1, "verdict": "accepted", "why": "", "accuracy": 2}}, "accuracy"),
        ({"dimension": 7}, "header"), ({"counts": [90, 100, 110]}, "counts"), ({"held_out": 0}, "counts"),
    ],
)  # fmt: skip
def test_a_header_that_does_not_fit_itself_or_the_examples_is_refused(change: dict[str, object], told: str) -> None:
    with refused("contribution-invalid", FleetError, "x", told):
        look(with_header(DATA, canonical({**json.loads(header(DATA)), **change})))


def test_a_header_that_lacks_a_field_is_not_canonical_or_is_of_a_newer_program_is_refused() -> None:
    raw = json.loads(header(DATA))
    for text, code, word in (
        (canonical({k: v for k, v in raw.items() if k != "labels"}), "contribution-invalid", "labels"),
        (json.dumps(raw).encode(), "contribution-invalid", "canonical"),
        (b'{"a":1,"a":1}', "contribution-invalid", "field"),
        (b"[]", "contribution-invalid", "object"),
        (b"\xff", "contribution-invalid", "JSON"),
        (canonical({**raw, "format": 2}), "too-new", "upgrade"),
    ):
        with refused(code, FleetError, word):
            look(with_header(DATA, text))


@pytest.mark.fuzzing
def test_every_truncation_and_every_flipped_bit_is_refused_in_one_line() -> None:
    data = contribution(20, 2, 3)
    damaged = [data[:length] for length in range(len(data))]
    damaged += [data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :] for i in range(len(data)) for bit in range(8)]
    damaged += [data + b"\0", data[:11] + b"\xff" * 4 + data[15:]]
    for bad in damaged:
        with pytest.raises(FleetError) as caught:
            look(bad)
        assert caught.value.code in ("contribution-damaged", "contribution-invalid", "too-new")
        assert "\n" not in str(caught.value)


def frames(*raw: bytes) -> bytes:
    packed = [zlib.compress(one) for one in raw]
    return b"".join(struct.pack("<II", len(one), zlib.crc32(one)) + one for one in packed)


def test_a_frame_that_would_unpack_to_more_is_never_unpacked_whole() -> None:
    start = len(DATA) - len(DATA[len(MAGIC) + 8 + len(header(DATA)) :])
    for bad in (frames(bytes(1 << 28)), frames(b""), frames(bytes(CHUNK * (46 + 24) + 32))[:-3]):
        with pytest.raises(FleetError):
            look(DATA[:start] + bad)


@pytest.mark.parametrize("column", ["images", "labels", "sessions", "created", "embeddings"])
def test_an_impossible_column_is_refused(column: str) -> None:
    part = next(iter(parts(4, 0, 3, 2)))
    bad = {
        "images": part.images[::-1],
        "labels": part.labels + 1,
        "sessions": part.sessions - 9,
        "created": part.created - (1 << 40),
        "embeddings": part.embeddings,
    }[column]
    counts = np.bincount(part.labels, minlength=2).tolist()
    text = about(["a", "b"], counts, 3, held_out=int(part.held_out.sum()))
    data = write(text, [dataclasses.replace(part, **{column: bad})])
    if column == "embeddings":  # twice as long as they may be
        raw = zlib.decompress(data[len(write(text, [])) + 8 :])
        data = write(text, []) + frames(raw[: -4 * 3] + bytes([3] * 12))
    with refused("contribution-invalid", FleetError, column):
        look(data)


def test_impossible_moments_are_refused() -> None:
    x = fixed(np.random.default_rng(0).normal(size=(9, 4)))
    good = Moments.of(x, ["a"] * 4 + ["b"] * 5)
    text = about(["a", "b"], [4, 5], 4, form="moments")
    assert read("x", write_moments(text, good)).moments() == good
    for bad in (
        Moments(good.labels, good.counts + 1, good.sums, good.gram),
        Moments(good.labels, good.counts, good.sums * 99, good.gram),
        Moments(good.labels, good.counts, good.sums, -good.gram),
        Moments(good.labels, good.counts, good.sums, good.gram * 2),
        Moments(good.labels, good.counts, good.sums, np.where(np.eye(4) > 0, good.gram, 99.0)),
    ):
        with refused("contribution-invalid", FleetError, "moments"):
            read("x", write_moments(text, bad)).moments()


@given(st.integers(1, 3000), st.integers(0, 9999))
def test_what_came_from_the_grid_stays_as_it_is_whatever_its_numbers(d: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    raw = random.normal(size=(3, d)) * np.exp(random.normal(size=(3, d)) * 3)
    once = fixed(raw)
    assert np.array_equal(fixed(once.astype(np.float32)), once)


def test_labels_in_any_script_are_written_as_they_are() -> None:
    data = contribution(9, labels=("glass", "Ä", "杯"))
    assert "杯".encode() in header(data)
    assert read("x", data).about.labels == ("glass", "Ä", "杯")
