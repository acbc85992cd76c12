"""Where networks run: device, memory and threads, compiled callables, gradients.

Everything that needs TensorFlow itself, rather than Keras, lives here. TensorFlow takes seconds to import,
so this happens on first use; the two variables below must be set before.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import ArtifactError, InputError
from medai_core.settings import settings

if TYPE_CHECKING:
    import keras

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

log = logging.getLogger(__name__)
_building = threading.RLock()
_started = threading.Event()


def started() -> bool:
    """Whether the networks' library is loaded, so that :func:`device_name` answers at once."""
    return _started.is_set()


def configure() -> None:
    """Load the networks' library and set device, memory growth and threads, once per process.

    Raises
    ------
    InputError
        If ``MEDAI_DEVICE`` is ``gpu`` and TensorFlow sees none.
    """
    with _building:
        if _started.is_set():
            return
        import keras

        if keras.backend.backend() == "tensorflow":
            _configure_tensorflow()
        _started.set()


def _configure_tensorflow() -> None:
    import tensorflow as tf

    wanted, threads = settings().device, settings().threads
    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise InputError("`{name}` is gpu, but TensorFlow sees no GPU here", name="MEDAI_DEVICE")
    # A reading must not depend on the device: TensorFloat-32 rounds to 10 bits.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        if wanted == "cpu":
            tf.config.set_visible_devices([], "GPU")
        else:
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        # The host program ran TensorFlow before us; its settings hold.
        log.warning("TensorFlow was already running, device and threads stay as they are: %s", error)


@cache
def device_name() -> str:
    """The device networks run on, for people: ``GPU (NVIDIA A100)`` or ``CPU (2 cores)``.

    Another Keras backend than TensorFlow chooses its device itself: its name is given instead.
    """
    configure()
    import keras

    if keras.backend.backend() != "tensorflow":
        return keras.backend.backend()
    import tensorflow as tf

    if gpus := tf.config.get_visible_devices("GPU"):
        return f"GPU ({tf.config.experimental.get_device_details(gpus[0]).get('device_name', gpus[0].name)})"
    return f"CPU ({settings().threads or os.cpu_count()} cores)"


def quicken(model: keras.Model) -> None:
    """Let a network's convolutions compute in bfloat16, if the processor has matrix units for it; else change nothing.

    For images to look at, not for probabilities: a weight then has 8 significant bits, as a generator's bundle holds
    them, and so has what a convolution is given and answers. It takes two fifths of the time (Intel's AMX), and pixels
    differ by a seventh of a grey level in the mean. Call it before the network is compiled.
    """
    configure()
    import keras

    if keras.backend.backend() == "tensorflow" and _bfloat16_units():
        for layer in _layers(model):
            if isinstance(layer, keras.layers.Conv2D):
                layer.dtype_policy = "mixed_bfloat16"


def _bfloat16_units() -> bool:
    """Whether networks run on a processor with matrix units for bfloat16, as far as Linux tells."""
    import tensorflow as tf

    told = Path("/proc/cpuinfo")
    return not tf.config.get_visible_devices("GPU") and told.exists() and "amx_bf16" in told.read_text()


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Every layer, those of networks within the network too."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


class Compiled:
    """A network or function, compiled once for any batch size, called with arrays and answering with arrays.

    Safe to share between threads: calls run one at a time. Building one warms it with a batch of one.

    Parameters
    ----------
    function : keras.Model or callable
        Takes a tensor (B, *input_shape); returns a tensor, or a dict, tuple or list of tensors. Models
        run with ``training=False``.
    input_shape : tuple[int | None, ...]
        Without the batch axis.

    Notes
    -----
    A ``tf.function`` with a fixed signature answers in a tenth of the time of ``model(x)``. Under another
    Keras backend the function is called as it is.
    """

    def __init__(self, function: keras.Model | Callable[..., Any], input_shape: tuple[int | None, ...]) -> None:
        configure()
        import keras

        self.input_shape = tuple(input_shape)
        self._lock = threading.RLock()
        run = _inference(function)
        with _building:
            if keras.backend.backend() == "tensorflow":
                run = _tensorflow_function(run, self.input_shape)
            self._run = run
            self(np.zeros((1, *(size or 1 for size in self.input_shape)), np.float32))

    def __call__(self, x: ArrayLike) -> Any:
        """Answer for a batch ``x`` (B, *input_shape) of numbers; arrays in the structure the function returns."""
        import keras

        batch = np.ascontiguousarray(x, dtype=np.float32)
        if not _fits(batch.shape, self.input_shape):
            raise InputError(
                "A batch must have shape (B, {shape}) with B at least 1, got {got}",
                shape=", ".join(str(size) for size in self.input_shape),
                got=batch.shape,
            )
        with self._lock:
            out = self._run(keras.ops.convert_to_tensor(batch))
            return keras.tree.map_structure(keras.ops.convert_to_numpy, out)


def gradient_of(
    function: Callable[[Any], Any], input_shape: tuple[int | None, ...]
) -> Callable[[ArrayLike], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Compile a function together with its gradient.

    Parameters
    ----------
    function : callable
        Takes a tensor x (B, *input_shape), returns (B,): one number per row, depending on that row only.
    input_shape : tuple[int | None, ...]
        Without the batch axis.

    Returns
    -------
    Compiled
        ``x -> (values (B,), gradients (B, *input_shape))``, float32.

    Raises
    ------
    ArtifactError
        Under a Keras backend other than TensorFlow, or if the values do not depend on x.
    """
    configure()
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ArtifactError(
            "Gradients need the TensorFlow backend of Keras, got {backend}", backend=keras.backend.backend()
        )
    import tensorflow as tf

    run = _inference(function)

    def values_and_gradients(x: Any) -> tuple[Any, Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            values = run(x)  # (B,)
        gradients = tape.gradient(values, x)  # of the sum over rows, hence of each row
        if gradients is None:
            raise ArtifactError("A function must depend on its input to have a gradient")
        return values, gradients

    return Compiled(values_and_gradients, input_shape)


def _inference(function: Callable[..., Any]) -> Callable[[Any], Any]:
    import keras

    if isinstance(function, keras.layers.Layer):
        return lambda x: function(x, training=False)
    return function


def _tensorflow_function(run: Callable[[Any], Any], input_shape: tuple[int | None, ...]) -> Callable[[Any], Any]:
    import tensorflow as tf

    signature = [tf.TensorSpec((None, *input_shape), tf.float32)]
    return tf.function(run, input_signature=signature, autograph=False)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    same_rank = len(shape) == len(wanted) + 1
    return same_rank and shape[0] > 0 and all(w is None or s == w for s, w in zip(shape[1:], wanted, strict=True))
