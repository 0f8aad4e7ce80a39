"""Run the frozen network on the installed runtime: uint8 pictures (N, H, W, 3) → float32 embeddings (N, D).

Owns the table of runtimes and how each is opened. A runtime is imported only when it is opened, so listing them costs
nothing, and a broken one does not affect the others.

| runtime        | runs   | Python    | systems        |
|----------------|--------|-----------|----------------|
| onnxruntime    | onnx   | 3.11–3.13 | 64-bit         |
| litert         | tflite | 3.11–3.13 | 64-bit         |
| tflite-runtime | tflite | ≤ 3.11    | 32- and 64-bit |

Pictures are embedded one at a time on every runtime, so that a picture gives the same embedding to the last bit whether
it comes alone or in a folder.
"""

import importlib
import importlib.util
import os
import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle.manifest import MAX_DIMENSION, MAX_SIDE
from edge.errors import BundleError, RuntimeMissing
from edge.system.memory import trim
from edge.system.quiet import quiet
from edge.text import first_line


class Backbone(Protocol):
    """A network ready to run."""

    runtime: str
    size: int  # H = W of its pictures, pixels
    dimension: int  # D of its embeddings

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures (N, H, W, 3), uint8 RGB, as float32 (N, D)."""

    def copy(self) -> "Backbone":
        """Return a backbone that may run in another thread at the same time."""


@dataclass(frozen=True)
class Runtime:
    """One row of the table above; `extra` names what to install: `pip install 'edge-transfer[extra]'`."""

    name: str
    format: str
    module: str
    package: str
    extra: str

    @property
    def installed(self) -> bool:
        """Whether its package is installed; whether it loads is known only once it is opened."""
        return importlib.util.find_spec(self.module) is not None


RUNTIMES = (
    Runtime("onnxruntime", "onnx", "onnxruntime", "onnxruntime", "onnx"),
    Runtime("litert", "tflite", "ai_edge_litert", "ai-edge-litert", "tflite"),
    Runtime("tflite-runtime", "tflite", "tflite_runtime", "tflite-runtime", "tflite-runtime"),
)


def find_runtime(formats: frozenset[str] | set[str]) -> Runtime:
    """Pick the first installed runtime for any of `formats` ("onnx", "tflite").

    Raises:
        RuntimeMissing: no such runtime is installed; the message names the extra to install.
    """
    for runtime in RUNTIMES:
        if runtime.format in formats and runtime.installed:
            return runtime
    extras = " or ".join(f"pip install 'edge-transfer[{r.extra}]'" for r in RUNTIMES if r.format in formats)
    raise RuntimeMissing(
        "runtime-missing", f"no runtime for {' or '.join(sorted(formats))} models is installed; run {extras}"
    )


def open_backbone(model: bytes, runtime: Runtime, threads: int | None = None) -> Backbone:
    """Load a network into a runtime.

    Args:
        model: the bytes of an ONNX or TFLite file that takes uint8 (N, H, W, 3) and returns (N, D) or (N, 1, 1, D).
        runtime: one of `RUNTIMES`.
        threads: processor threads for one picture; None for all.

    Raises:
        RuntimeMissing: the runtime is not installed, or cannot be loaded here (the message says why).
        BundleError: the runtime refuses the model, or its inputs and outputs are of another form.
    """
    threads = threads or os.cpu_count() or 1
    opened: Backbone
    if runtime.format == "onnx":
        opened = _OnnxBackbone(model, runtime, threads)
    else:
        opened = _TfliteBackbone(model, runtime, threads)
    del model
    trim()
    return opened


def load_runtime(name: str) -> None:
    """Import a runtime by its name in `RUNTIMES`, as `open_backbone` would.

    Raises:
        RuntimeMissing: the runtime is not installed, or does not load.
    """
    runtime = next(r for r in RUNTIMES if r.name == name)
    _import(runtime)


class _OnnxBackbone:
    def __init__(self, model: bytes, runtime: Runtime, threads: int) -> None:
        from edge.modelfile.check_onnx import check_onnx

        ort = _import(runtime)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors reach us as exceptions
        try:
            check_onnx(model)
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._session._model_bytes = None  # held for a fallback to other providers, of which there is none
        except BundleError as error:
            raise BundleError(error.code, f"the model is refused: {error}") from None
        except Exception as error:  # onnxruntime raises its own kinds, derived from nothing in common
            raise BundleError(
                "model-failed", f"onnxruntime cannot load the model ({first_line(error)}); build the bundle again"
            ) from None
        self.runtime = runtime.name
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        types = [i.type for i in inputs], [o.type for o in outputs[:1]]
        if types != (["tensor(uint8)"], ["tensor(float)"]):
            raise _wrong_form([(i.type, i.shape) for i in inputs])
        self._input, self._output = inputs[0].name, outputs[0].name
        self.size, self.dimension = _check_form(inputs[0].shape, outputs[0].shape)

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        result = np.empty((len(images), self.dimension), np.float32)
        for row, image in zip(result, images, strict=True):
            try:
                row[:] = self._session.run([self._output], {self._input: image[None]})[0].reshape(-1)
            except Exception as error:  # as above; a ValueError: the output is not as long as it said
                raise _failed(self.runtime, error) from error
        return result

    def copy(self) -> "_OnnxBackbone":
        return self  # a session may be run from many threads


class _TfliteBackbone:
    def __init__(self, model: bytes, runtime: Runtime, threads: int) -> None:
        self._made_of = (model, runtime, threads)
        self._lock = threading.Lock()  # between setting a picture and taking its embedding, no other may be set
        interpreter = _import(runtime)
        from edge.modelfile.check_tflite import check_tflite

        try:
            check_tflite(model)
            with quiet():
                self._interpreter = interpreter.Interpreter(model_content=model, num_threads=threads)
                self._interpreter.allocate_tensors()
        except BundleError as error:
            raise BundleError(error.code, f"the model is refused: {error}") from None
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                "model-failed", f"{runtime.name} cannot load the model ({first_line(error)}); build the bundle again"
            ) from None
        self.runtime = runtime.name
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or inputs[0]["dtype"] is not np.uint8 or not outputs:
            raise _wrong_form([(i["dtype"].__name__, i["shape"].tolist()) for i in inputs])
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._scale, self._zero = outputs[0]["quantization"]  # scale 0: not quantized
        self.size, self.dimension = _check_form(inputs[0]["shape"].tolist(), outputs[0]["shape"].tolist())

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        result = np.empty((len(images), self.dimension), np.float32)
        for row, image in zip(result, images, strict=True):
            try:
                with self._lock:
                    self._interpreter.set_tensor(self._input, image[None])
                    self._interpreter.invoke()
                    row[:] = self._interpreter.get_tensor(self._output).reshape(-1)
            except (ValueError, RuntimeError) as error:
                raise _failed(self.runtime, error) from error
        return (result - self._zero) * np.float32(self._scale) if self._scale else result

    def copy(self) -> "_TfliteBackbone":
        return _TfliteBackbone(*self._made_of)


def _check_form(inputs: list[Any], outputs: list[Any]) -> tuple[int, int]:
    """Return side and dimension of a graph (N, S, S, 3) → (N, D) or (N, 1, 1, D); a free N is a name or −1."""
    batches = {axes[0] for axes in (inputs, outputs) if axes and isinstance(axes[0], int) and axes[0] > 1}
    if batches:
        raise BundleError(
            "model-unsuitable",
            "a backbone must take one picture at a time or any number, but this one always takes "
            f"{max(batches)}; export it with a batch size of 1, or a free one",
        )
    if len(inputs) == 4 and inputs[1] == inputs[2] and inputs[3] == 3 and isinstance(inputs[1], int):
        last = outputs[-1] if outputs else None
        if isinstance(last, int) and len(outputs) in (2, 4) and all(n == 1 for n in outputs[1:-1]):
            if not (1 <= inputs[1] <= MAX_SIDE and 1 <= last <= MAX_DIMENSION):
                raise BundleError(
                    "model-unsuitable",
                    f"a backbone can take at most {MAX_SIDE} pixels per side and give at most {MAX_DIMENSION} "
                    f"numbers, but this one takes {inputs[1]} and gives {last}",
                )
            return inputs[1], last
    raise BundleError(
        "model-unsuitable",
        f"a backbone must take pictures (N, S, S, 3) and give (N, D), but this one takes {inputs} and gives {outputs}",
    )


def _failed(runtime: str, error: Exception) -> BundleError:
    return BundleError(
        "model-failed", f"the network cannot be run by {runtime} ({first_line(error)}); build the bundle again"
    )


def _wrong_form(inputs: list[tuple[str, Any]]) -> BundleError:
    seen = ", ".join(f"{kind} {shape}" for kind, shape in inputs)
    return BundleError(
        "model-unsuitable",
        f"a backbone must take one input of uint8 (N, S, S, 3) and give floats, but this one takes {seen}; export it "
        "again",
    )


def _import(runtime: Runtime) -> Any:
    """Import the module that runs networks; if it is missing or broken, the error is one line that says what to do."""
    remedy = f"run pip install 'edge-transfer[{runtime.extra}]'"
    if not runtime.installed:
        raise RuntimeMissing("runtime-missing", f"{runtime.package} is not installed; {remedy}")
    if runtime.name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
        raise RuntimeMissing(
            "runtime-broken",  # it was compiled against NumPy 1, does not say so, and fails deep inside on NumPy 2
            f"tflite-runtime needs numpy below 2, but numpy {np.__version__} is installed; run pip install 'numpy<2', "
            "or pip install 'edge-transfer[tflite]' for LiteRT",
        )
    try:
        module = importlib.import_module(runtime.module + (".interpreter" if runtime.format == "tflite" else ""))
    except ImportError as error:
        raise RuntimeMissing(
            "runtime-broken", f"{runtime.package} is installed but cannot be loaded ({error}); {remedy}"
        ) from error
    _restore_arithmetic()
    return module


def _restore_arithmetic() -> None:
    """Undo the effect of loading a library built with -ffast-math: the whole process rounds tiny numbers to zero.

    tflite-runtime's wheel for ARM does this. numpy warns, and the last bits of a head would depend on the runtime.

    Source: fenv(3); crtfastmath.c of GCC. `FE_DFL_ENV` is (fenv_t *) -1 in glibc and musl.
    """
    if np.float64(5e-324) * np.float64(1) == 0:  # the smallest number that there is
        import ctypes

        ctypes.CDLL(None).fesetenv(ctypes.c_void_p(-1))
