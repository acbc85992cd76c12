from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from medai_core import runtime
from medai_core.errors import ArtifactError, InputError


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 8, 8, 1), np.float32)


@pytest.fixture(scope="module")
def compiled(tiny_model) -> runtime.Compiled:
    return runtime.Compiled(tiny_model, (8, 8, 1))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_compiled_agrees_with_the_model(compiled, tiny_model, n):
    got = compiled(images(n))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.asarray(tiny_model(images(n))), atol=1e-6)


def test_batch_equals_single(compiled):
    single = np.concatenate([compiled(row[None]) for row in images(5)])
    np.testing.assert_allclose(compiled(images(5)), single, atol=1e-6)


def test_any_numbers_in_any_memory_order(compiled):
    x = (images(3) * 255).astype(np.uint8)
    np.testing.assert_array_equal(compiled(x), compiled(np.asfortranarray(x.astype(np.float64))))
    np.testing.assert_array_equal(compiled(x), compiled(x.tolist()))


@pytest.mark.parametrize("shape", [(8, 8, 1), (0, 8, 8, 1), (1, 8, 9, 1), (1, 8, 8), (2, 8, 8, 3)])
def test_another_shape_is_refused(compiled, shape):
    with pytest.raises(InputError, match=r"must have shape \(B, 8, 8, 1\) with B at least 1, got"):
        compiled(np.zeros(shape))


@pytest.mark.parametrize("pack", [lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"a": a, "b": b}])
def test_structures_come_back_as_arrays(pack):
    got = runtime.Compiled(lambda x: pack(x + 1, x[:, 0]), (3,))(np.ones((2, 3)))
    wanted = pack(np.full((2, 3), 2, np.float32), np.ones(2, np.float32))
    assert type(got) is type(wanted)
    for key in got if isinstance(got, dict) else range(2):
        np.testing.assert_array_equal(got[key], wanted[key])


def test_a_free_axis_takes_any_length():
    total = runtime.Compiled(lambda x: x[:, 0] + x[:, -1], (None,))
    assert total(np.ones((2, 5))).tolist() == total(np.ones((2, 1))).tolist() == [2, 2]


def test_compiled_traces_once():
    traced = []
    double = runtime.Compiled(lambda x: (traced.append(1), x * 2)[1], (3,))
    for n in (1, 2, 64):
        double(np.ones((n, 3)))
    assert len(traced) == 1


def test_models_run_without_dropout():
    import keras

    x = keras.Input((50,))
    dropping = runtime.Compiled(keras.Model(x, keras.layers.Dropout(0.9)(x)), (50,))
    np.testing.assert_array_equal(dropping(np.ones((2, 50))), np.ones((2, 50)))


def test_threads_may_share_one(compiled):
    wanted = {n: compiled(images(n, seed=n)) for n in range(1, 9)}
    wrong = []

    def work(n: int) -> None:
        for _ in range(20):
            if not np.allclose(compiled(images(n, seed=n)), wanted[n], atol=1e-6):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in wanted]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_threads_may_build_at_the_same_time():
    made: list[runtime.Compiled] = []
    threads = [threading.Thread(target=lambda: made.append(runtime.Compiled(lambda x: x + 1, (2,)))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [m(np.zeros((1, 2))).tolist() for m in made] == [[[1, 1]]] * 4

@pytest.mark.parametrize("units", [True, False])
def test_convolutions_are_quickened_only_where_the_processor_can(units, monkeypatch):
    import keras

    inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3)])
    model = keras.Sequential([keras.Input((8, 8, 1)), inner, keras.layers.Flatten(), keras.layers.Dense(2)])
    exact = np.asarray(model(images(3)))
    monkeypatch.setattr(runtime, "_bfloat16_units", lambda: units)
    runtime.quicken(model)
    assert [layer.compute_dtype for layer in (inner.layers[0], model.layers[-1])] == [
        "bfloat16" if units else "float32", "float32"
    ]  # fmt: skip
    got = runtime.Compiled(model, (8, 8, 1))(images(3))
    assert got.dtype == np.float32 and np.array_equal(got, exact) is not units
    np.testing.assert_allclose(got, exact, atol=0.03)


def test_gradient_agrees_with_calculus():
    values, gradients = runtime.gradient_of(lambda x: x[:, 0] ** 2 * x[:, 1], (2,))([[2.0, 3.0], [1.0, 5.0]])
    np.testing.assert_allclose(values, [12, 5])
    np.testing.assert_allclose(gradients, [[12, 4], [10, 1]])


def test_gradient_agrees_with_differences(tiny_model, compiled):
    x = images(1).astype(np.float64)
    values, gradients = runtime.gradient_of(lambda t: tiny_model(t, training=False)[:, 1], (8, 8, 1))(x)
    np.testing.assert_allclose(values, compiled(x)[:, 1], atol=1e-6)
    for row, column in [(0, 0), (3, 4), (7, 7)]:
        step = np.zeros_like(x)
        step[0, row, column, 0] = 0.05
        by_difference = (compiled(x + step)[0, 1] - compiled(x - step)[0, 1]) / 0.1
        assert gradients[0, row, column, 0] == pytest.approx(by_difference, abs=1e-4)


def test_a_constant_has_no_gradient():
    import keras

    with pytest.raises(ArtifactError, match="must depend on its input"):
        runtime.gradient_of(lambda x: keras.ops.zeros(1), (2,))


def test_device_has_a_name():
    assert runtime.device_name().startswith(("CPU (", "GPU ("))
    assert runtime.started()


def test_compiled_beats_the_plain_call():
    import keras

    x = h = keras.Input((128, 128, 1))
    for filters in (16, 32, 64):
        h = keras.layers.Conv2D(filters, 3, strides=2, activation="gelu")(h)
        h = keras.layers.BatchNormalization()(h)
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(h)))
    fast, batch = runtime.Compiled(model, (128, 128, 1)), np.zeros((1, 128, 128, 1), np.float32)

    def best_of(run) -> float:
        run(batch)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            run(batch)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best_of(fast) < best_of(lambda b: np.asarray(model(b, training=False))) / 2


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_importing_loads_nothing_and_sets_the_variables():
    program = (
        "import os, sys; from medai_core import runtime; assert not {'keras', 'tensorflow'} & set(sys.modules);"
        "assert not runtime.started(); print(os.environ['KERAS_BACKEND'], os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    cleared = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")}
    done = subprocess.run([sys.executable, "-c", program], env=cleared, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tensorflow", "2"]


def test_device_and_threads_come_from_the_settings():
    program = (
        "from medai_core import runtime; runtime.configure(); import tensorflow as tf;"
        "print(tf.config.threading.get_intra_op_parallelism_threads(), runtime.device_name())"
    )
    done = run_python(program, MEDAI_DEVICE="cpu", MEDAI_THREADS="3", KERAS_BACKEND="tensorflow")
    assert done.stdout.split(maxsplit=1) == ["3", "CPU (3 cores)\n"], done.stderr


def test_a_missing_gpu_is_said():
    program = (
        "from medai_core import runtime; from medai_core.errors import InputError\n"
        "try: runtime.configure()\n"
        "except InputError as error: print(error, runtime.started())"
    )
    done = run_python(program, MEDAI_DEVICE="gpu", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")
    assert done.stdout == "`MEDAI_DEVICE` is gpu, but TensorFlow sees no GPU here False\n", done.stderr


def test_another_backend_runs_but_has_no_gradients():
    pytest.importorskip("torch", reason="PyTorch is not among the requirements")
    program = (
        "import numpy as np, keras; from medai_core import runtime; from medai_core.errors import ArtifactError\n"
        "x = keras.Input((4,)); model = keras.Model(x, keras.layers.Dense(2)(x))\n"
        "got = runtime.Compiled(model, (4,))(np.ones((3, 4)))\n"
        "assert isinstance(got, np.ndarray) and np.allclose(got[0], model.get_weights()[0].sum(0))\n"
        "try: runtime.gradient_of(lambda x: x[:, 0], (4,))\n"
        "except ArtifactError as error: print(error, runtime.device_name())"
    )
    done = run_python(program, KERAS_BACKEND="torch")
    assert done.stdout == "Gradients need the TensorFlow backend of Keras, got torch torch\n", done.stderr
