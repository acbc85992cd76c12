"""Why a network said what it said: Grad-CAM, SHAP, and a check of the heat map itself.

Both methods explain one number, the *calibrated log-odds of the target*: with z the calibrated logits and
T the target labels (one label, or all labels of a finding), ``logsumexp(z[T]) - logsumexp(z[not T])``. A
softmax does not change when a constant is added to all logits, so a single logit means nothing by itself;
the log-odds do, and unlike a probability they do not saturate. A heat map is no localisation: it shows what
moved this number, not where disease is, so every map is held against the network by deletion and insertion.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medai_core import runtime
from medai_core.errors import InputError
from medai_core.imaging.heatmap import Faithfulness, faithfulness, overlay

if TYPE_CHECKING:
    import keras

Floats = NDArray[np.float32]
Target = int | Sequence[int]
Logits = Callable[[Floats], NDArray[np.floating]]

SHAP_SAMPLES = 50
SHAP_GROUPS = 5
CHECK_STEPS = 6

__all__ = [
    "Attribution",
    "Explainer",
    "Explanation",
    "Faithfulness",
    "GradCam",
    "GradientShap",
    "faithfulness",
    "log_odds",
    "overlay",
    "target_mask",
]


class Scaling(Protocol):
    """What is needed of a calibration: calibrated logits are ``logits * scale + bias``."""

    scale: Any
    bias: Any


@dataclass(frozen=True, eq=False)
class Explanation:
    """One explained reading.

    Attributes
    ----------
    method : {"grad_cam", "shap"}
    heat : NDArray[np.float32]
        (H, W); Grad-CAM in 0 to 1, SHAP signed, in log-odds per pixel.
    score : float
        Calibrated log-odds of the target for this image.
    base_value : float or None
        SHAP: mean log-odds over the background images.
    additivity_gap : float or None
        SHAP: ``|base_value + heat.sum() - score|`` in log-odds.
    additivity_error : float or None
        SHAP: standard error of ``heat.sum()`` from sampling; a gap within two of these is sampling noise.
    relative_gap : float or None
        SHAP: the gap divided by ``|score - base_value|``.
    deletion_auc, insertion_auc, random_deletion_auc, random_insertion_auc : float or None
        Mean log-odds along the curves, see :func:`faithfulness`; None, like ``faithful``, when the check was
        not asked for.
    """

    method: str
    label: str
    heat: Floats
    score: float
    base_value: float | None = None
    additivity_gap: float | None = None
    additivity_error: float | None = None
    relative_gap: float | None = None
    deletion_auc: float | None = None
    insertion_auc: float | None = None
    random_deletion_auc: float | None = None
    random_insertion_auc: float | None = None
    faithful: bool | None = None
    seconds: float = 0.0


# ------------------------------------------------------------------------------------ what is explained


def target_mask(target: Target, classes: int) -> Floats:
    """Return a (K,) mask, 1 at the target labels.

    Raises
    ------
    InputError
        The target is empty, out of range, or holds every class.
    """
    chosen = sorted({target} if isinstance(target, int | np.integer) else set(target))
    if not chosen or len(chosen) >= classes or chosen[0] < 0 or chosen[-1] >= classes:
        raise InputError(
            "`target` must name at least one and not all of the classes 0 to {last}, got {target}.",
            last=classes - 1,
            target=str(target),
        )
    mask = np.zeros(classes, np.float32)
    mask[chosen] = 1.0
    return mask


def log_odds(logits: NDArray[np.floating], calibration: Scaling | None, target: Target) -> NDArray[np.float64]:
    """Return the calibrated log-odds (B,) of a target from raw logits (B, K)."""
    mask = target_mask(target, logits.shape[-1])
    scale, bias = _constants(calibration, logits.shape[-1])
    z = logits.astype(np.float64) * scale + bias  # (B, K)
    return np.logaddexp.reduce(z[:, mask > 0], axis=1) - np.logaddexp.reduce(z[:, mask == 0], axis=1)


def _constants(calibration: Scaling | None, classes: int) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    if calibration is None:
        return np.ones(classes), np.zeros(classes)
    return np.broadcast_to(calibration.scale, (classes,)), np.broadcast_to(calibration.bias, (classes,))


def _log_odds_ops(logits, scale, bias, mask):
    """The same as :func:`log_odds` for tensors: logits (B, K), mask (K,) → (B,)."""
    from keras import ops

    z = logits * np.float32(scale) + np.float32(bias)  # (B, K)
    apart = 1e9
    inside = ops.logsumexp(z - (1.0 - mask) * apart, axis=-1)
    return inside - ops.logsumexp(z - mask * apart, axis=-1)


def _batch_of_one(image: NDArray[np.floating]) -> Floats:
    return np.asarray(image, np.float32).reshape(1, *np.shape(image)[:2], 1)


# --------------------------------------------------------------------------------------------- Grad-CAM


class GradCam:
    """Grad-CAM of an averaged network (Selvaraju et al. 2017, arXiv:1610.02391).

    Each member's last feature maps are weighted by the mean gradient of the target's log-odds; the maps of
    all members are averaged, then rectified. Compiled once: the target is an argument, not part of the trace.

    Parameters
    ----------
    network : keras.Model
        Image (B, H, W, 1) → logits (B, K), the mean of nested models ``member_*``, each image →
        [features (B, h, w, C), logits (B, K)].
    calibration : Scaling, optional
        Scale and bias of the logits.
    """

    def __init__(self, network: keras.Model, calibration: Scaling | None = None) -> None:
        members = [layer for layer in network.layers if layer.name.startswith("member_")]
        if not members:
            raise InputError("The network {name} has no layer named member_*.", name=network.name)
        self._classes = int(network.output_shape[-1])
        constants = _constants(calibration, self._classes)
        views = [layer for layer in network.layers if layer.name == "view"]
        self._cam = _compile_cam(members, views, constants, tuple(network.input_shape[1:]))
        self._lock = threading.Lock()
        self(np.zeros(network.input_shape[1:3]), 0)  # traces it

    def __call__(self, image: NDArray[np.floating], target: Target) -> tuple[Floats, float]:
        """Return the heat map (H, W) in 0 to 1 (all zero if nothing speaks for the target) and the log-odds."""
        mask = target_mask(target, self._classes)
        with self._lock:
            heat, score = self._cam(_batch_of_one(image), mask)
        return np.asarray(heat)[0], float(score[0])


def _compile_cam(
    members: list[Any],
    views: list[Any],
    constants: tuple[NDArray[np.floating], NDArray[np.floating]],
    shape: tuple[int, ...],
) -> Callable:
    runtime.configure()
    import tensorflow as tf
    from keras import ops

    scale, bias = constants
    # The members see the image's middle only: the map belongs there, and the rim gets none.
    margin = views[0].margin if views else 0
    inner = (shape[0] - 2 * margin, shape[1] - 2 * margin)

    @tf.function(input_signature=[tf.TensorSpec((None, *shape)), tf.TensorSpec(scale.shape)])
    def cam(images, mask):
        with tf.GradientTape() as tape:
            shown = views[0](images) if views else images
            tape.watch(shown)
            outputs = [member(shown, training=False) for member in members]
            logits = ops.mean(ops.stack([logits for _, logits in outputs]), axis=0)  # (B, K)
            score = _log_odds_ops(logits, scale, bias, mask)  # (B,)
        features = [features for features, _ in outputs]
        heat = 0.0
        for maps, slopes in zip(features, tape.gradient(score, features), strict=True):
            weights = ops.mean(slopes, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
            heat += ops.image.resize(ops.sum(weights * maps, -1, keepdims=True), inner, "bilinear")
        heat = ops.relu(ops.pad(heat, ((0, 0), (margin, margin), (margin, margin), (0, 0))))[..., 0]  # (B, H, W)
        return heat / (ops.max(heat, axis=(1, 2), keepdims=True) + 1e-12), score

    return cam


# ------------------------------------------------------------------------------------------------- SHAP


@dataclass(frozen=True, eq=False)
class Attribution:
    """SHAP values (H, W) of one image in log-odds, and how well they add up."""

    values: Floats
    score: float
    base_value: float
    gap: float
    error: float

    @property
    def relative_gap(self) -> float:
        return self.gap / max(abs(self.score - self.base_value), 1e-6)


class GradientShap:
    """SHAP values by ``shap.GradientExplainer`` (expected gradients, Erion et al. 2021, arXiv:1906.10670).

    The library draws background images and points on the way from them at random. It is given the image
    several times over, so that the spread between the groups tells the sampling error of the sum.

    Parameters
    ----------
    network : keras.Model
        Image (B, H, W, 1) → logits (B, K).
    logits : callable
        The same network compiled: numpy in, numpy out.
    background : Floats
        (N, H, W, 1) images that stand for "no information".
    samples : int
        Gradients per explanation, a multiple of 5.
    """

    def __init__(
        self,
        network: keras.Model,
        logits: Logits,
        background: Floats,
        calibration: Scaling | None = None,
        samples: int = SHAP_SAMPLES,
        seed: int = 0,
    ) -> None:
        import shap

        background = np.asarray(background, np.float32)
        self._classes = int(network.output_shape[-1])
        self._calibration = calibration
        self._seed = seed
        self._each = max(1, samples // SHAP_GROUPS)
        self._logits = logits
        self._background_logits = logits(background)  # (N, K)
        scored, self._mask = _scored(network, _constants(calibration, self._classes))
        self._explainer = shap.GradientExplainer(scored, background, batch_size=self._each)
        self._lock = threading.Lock()

    def __call__(self, image: NDArray[np.floating], target: Target) -> Attribution:
        """Return the attribution of the target's log-odds to the pixels of ``image`` (H, W)."""
        batch = _batch_of_one(image)
        values = self._sampled(np.repeat(batch, SHAP_GROUPS, axis=0), target_mask(target, self._classes))
        base = float(log_odds(self._background_logits, self._calibration, target).mean())
        score = float(log_odds(self._logits(batch), self._calibration, target)[0])
        sums = values.sum(axis=(1, 2), dtype=np.float64)  # (groups,)
        error = float(sums.std(ddof=1) / np.sqrt(len(sums)))
        return Attribution(values.mean(axis=0), score, base, abs(base + float(sums.mean()) - score), error)

    def _sampled(self, batch: Floats, mask: Floats) -> Floats:
        """Run the library; the lock guards the target variable and NumPy's global generator, which it reseeds."""
        with self._lock:
            state = np.random.get_state()
            try:
                self._mask.assign(mask)
                raw = self._explainer.shap_values(batch, nsamples=self._each, rseed=self._seed)
            finally:
                np.random.set_state(state)
        return _single_output(raw, batch.shape[:3])


def _single_output(raw: Any, shape: tuple[int, ...]) -> Floats:
    """SHAP gave a list of arrays per output until 0.45, an array with outputs last since: return (B, H, W)."""
    values = raw[0] if isinstance(raw, list) else raw
    return np.asarray(values, np.float32).reshape(shape)


def _scored(
    network: keras.Model, constants: tuple[NDArray[np.floating], NDArray[np.floating]]
) -> tuple[keras.Model, Any]:
    """Return image → log-odds (B, 1) and the variable (K,) that says of which target."""
    import keras

    class Score(keras.layers.Layer):
        def build(self, shape):
            self.mask = self.add_weight(shape=(shape[-1],), trainable=False, name="mask")

        def call(self, logits):
            return _log_odds_ops(logits, *constants, self.mask)[:, None]

    score = Score(name="score")
    # Inputs as a list: SHAP calls the model with one, and Keras warns when the structure differs.
    model = keras.Model([network.input], score(network.output), name="scored")
    return model, score.mask


# ---------------------------------------------------------------------------------------- all in one place


class Explainer:
    """Grad-CAM and SHAP of one shipped network, each built on first use and kept.

    Parameters
    ----------
    network : keras.Model
        As for :class:`GradCam`.
    logits : callable
        The network compiled: numpy (B, H, W, 1) → (B, K).
    calibration : Scaling, optional
    background : callable, optional
        Returns the (N, H, W, 1) background images; called when SHAP is first asked for.
    """

    def __init__(
        self,
        network: keras.Model,
        logits: Logits,
        calibration: Scaling | None = None,
        background: Callable[[], Floats] | None = None,
    ) -> None:
        self._network = network
        self._logits = logits
        self._calibration = calibration
        self._background = background
        self._cam: GradCam | None = None
        self._shap: GradientShap | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Compile Grad-CAM now, so that the first explanation does not wait for it."""
        with self._lock:
            self._cam = self._cam or GradCam(self._network, self._calibration)

    def grad_cam(self, image: Floats, target: Target, label: str, check: bool = True) -> Explanation:
        """Return the Grad-CAM explanation of ``image`` (H, W); ``check`` adds the faithfulness figures."""
        self.prepare()
        start = time.perf_counter()
        heat, score = self._cam(image, target)
        checked = self._check(image, heat, target) if check else {}
        return Explanation("grad_cam", label, heat, score, **checked, seconds=time.perf_counter() - start)

    def shap(self, image: Floats, target: Target, label: str, check: bool = True) -> Explanation:
        """Return the SHAP explanation of ``image`` (H, W); ``check`` adds the faithfulness figures."""
        with self._lock:
            if self._shap is None:
                if self._background is None:
                    raise InputError("SHAP needs background images, and this model has none.")
                self._shap = GradientShap(self._network, self._logits, self._background(), self._calibration)
        start = time.perf_counter()
        found = self._shap(image, target)
        checked = self._check(image, found.values, target) if check else {}
        return Explanation(
            "shap",
            label,
            found.values,
            found.score,
            base_value=found.base_value,
            additivity_gap=found.gap,
            additivity_error=found.error,
            relative_gap=found.relative_gap,
            **checked,
            seconds=time.perf_counter() - start,
        )

    def _check(self, image: Floats, heat: Floats, target: Target) -> dict[str, Any]:
        def predict(images: Floats) -> NDArray[np.floating]:
            return log_odds(self._logits(images), self._calibration, target)

        found = faithfulness(predict, np.asarray(image).reshape(heat.shape), heat, steps=CHECK_STEPS)
        return asdict(found)
