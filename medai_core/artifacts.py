"""A model bundle on disk: the weights with everything that makes them usable, and a digest of each file.

A bundle folder holds ``card.yaml``, ``preprocessing.json``, ``metrics.json``, the model as any number of ``*.keras``
(networks), ``*.skops`` (scikit-learn estimators), ``*.txt`` and ``*.npz``, and ``digests.json``. The digests beside the
files find corruption; tampering is found by the digest of the whole bundle, which is pinned outside it
(:mod:`medai_core.registry`). Nothing is a pickle, and loading runs no code from a file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core import runtime
from medai_core.errors import ArtifactError

if TYPE_CHECKING:
    import keras

MODEL, CARD, PREPROCESSING, METRICS, DIGESTS = (
    "model.keras",
    "card.yaml",
    "preprocessing.json",
    "metrics.json",
    "digests.json",
)
REQUIRED = (CARD, PREPROCESSING, METRICS)
MAX_BUNDLE_MB = 10
KEPT_BITS = 12
"""Significant bits of a stored weight, one more than half precision has: the rest would only fill the bundle."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle without its weights: cheap to read, no network library needed.

    Attributes
    ----------
    id, version : str
        From the card.
    path : Path
        The folder.
    card, preprocessing, metrics : dict
        The three files as they are.
    size_mb : float
        All files together, in MB (10^6 bytes).
    digest : str
        SHA-256 over the sorted lines ``name sha256``.
    """

    id: str
    version: str
    path: Path
    card: dict[str, Any]
    preprocessing: dict[str, Any]
    metrics: dict[str, Any]
    size_mb: float
    digest: str


def save_bundle(
    folder: Path | str,
    model: keras.Model | Mapping[str, keras.Model] | None,
    card: Mapping[str, Any],
    preprocessing: Mapping[str, Any],
    metrics: Mapping[str, Any],
    arrays: Mapping[str, Mapping[str, ArrayLike]] | None = None,
    texts: Mapping[str, str] | None = None,
    estimators: Mapping[str, Any] | None = None,
    max_mb: float = MAX_BUNDLE_MB,
    bits: int = KEPT_BITS,
) -> Bundle:
    """Write a bundle in full or not at all, replacing the bundle that was there.

    Parameters
    ----------
    folder : Path
        Its parents are made. A folder that holds something other than a bundle is left alone.
    model : keras.Model, or mapping of them, or None
        One is saved as ``model.keras``, several as ``<name>.keras``. Weights are rounded to `bits` significant
        bits, here as in the file. Saved without optimizer state when it was not compiled.
    card : mapping
        Must hold ``id`` and ``version``.
    preprocessing, metrics : mapping
        Finite numbers, strings, lists and dicts; NumPy values are converted.
    arrays : mapping, optional
        ``{"background": {"images": …}}`` becomes ``background.npz``.
    texts : mapping, optional
        Contents by file name, ending in ``.txt``: a model that is text.
    estimators : mapping, optional
        ``{"svm": …}`` becomes ``svm.skops``: fitted scikit-learn estimators.
    max_mb : float
        Size limit in MB (10^6 bytes).

    Returns
    -------
    Bundle
        As read back and verified; ``digest`` is what to pin.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / DIGESTS).is_file() and any(folder.iterdir()):
        raise ArtifactError("A bundle replaces only a bundle, but {folder} holds other files", folder=folder.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        new = Path(scratch) / folder.name
        new.mkdir()
        for name, network in _networks(model).items():
            _save_model(network, new / name, bits)
        _write_text_files(new, card, preprocessing, metrics)
        for name, columns in (arrays or {}).items():
            np.savez_compressed(new / f"{name}.npz", allow_pickle=False, **columns)
        for name, text in (texts or {}).items():
            (new / name).write_text(text, encoding="utf-8")
        for name, estimator in (estimators or {}).items():
            (new / f"{name}.skops").write_bytes(_estimator_bytes(estimator))
        digests = {path.name: _sha256(path) for path in sorted(new.iterdir())}
        (new / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
        if (size_mb := read_bundle(new).size_mb) > max_mb:
            raise ArtifactError(
                "A bundle must be at most {limit} MB, {folder} would have {size:.1f}",
                limit=max_mb, folder=folder.name, size=size_mb,
            )  # fmt: skip
        swap(new, folder, Path(scratch) / "replaced")
    return read_bundle(folder)


def _networks(model: keras.Model | Mapping[str, keras.Model] | None) -> dict[str, keras.Model]:
    """Networks by file name."""
    if model is None:
        return {}
    if isinstance(model, Mapping):
        return {f"{name}.keras": network for name, network in model.items()}
    return {MODEL: model}


def _save_model(model: keras.Model, path: Path, bits: int) -> None:
    """Save the rounded network; Keras stores its archive as it is, so it is deflated here: about half the size."""
    round_weights(model, bits)
    plain = path.with_stem("plain")
    model.save(plain)
    with zipfile.ZipFile(plain) as source:
        path.write_bytes(_archive({name: source.read(name) for name in source.namelist()}))
    plain.unlink()


def _archive(members: Mapping[str, bytes]) -> bytes:
    """A deflated ZIP archive without dates: the same contents make the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in members.items():
            target.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def _estimator_bytes(estimator: Any) -> bytes:
    """The skops archive of an estimator; its members are named after memory addresses, here after their order."""
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(estimator))) as source:
        members = {name: source.read(name) for name in source.namelist()}
    order: dict[str, str] = {}

    def place(found: re.Match[str]) -> str:
        return found[1] + order.setdefault(found[2], str(len(order)))

    text = re.sub(r'("__id__": |"file": ")(\d+)', place, members.pop("schema.json").decode())
    named = {order.get(stem := Path(name).stem, stem) + Path(name).suffix: data for name, data in members.items()}
    return _archive(named | {"schema.json": text.encode()})


def round_weights(model: keras.Model, bits: int = KEPT_BITS) -> None:
    """Round a network's weights in place, as its bundle stores them."""
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(rounded(np.asarray(weight), bits))


def rounded(values: NDArray[np.float32], bits: int = KEPT_BITS) -> NDArray[np.float32]:
    """The nearest numbers with `bits` significant bits; finite values stay finite unless at the very top."""
    dropped = 24 - bits
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << (dropped - 1))) & np.uint32(~((1 << dropped) - 1) & 0xFFFFFFFF)).view(np.float32)


def swap(new: Path, folder: Path, replaced: Path) -> None:
    """Put `new` in the place of `folder`, which becomes `replaced`; on failure all is as it was."""
    if folder.exists():
        os.rename(folder, replaced)
    try:
        os.rename(new, folder)
    except OSError:
        if replaced.exists():
            os.rename(replaced, folder)
        raise


def _write_text_files(
    folder: Path, card: Mapping[str, Any], preprocessing: Mapping[str, Any], metrics: Mapping[str, Any]
) -> None:
    import yaml

    for name, content in ((PREPROCESSING, preprocessing), (METRICS, metrics)):
        try:
            text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ArtifactError(
                "{file} must hold finite numbers, text, lists and dicts: {error}", file=name, error=str(error)
            ) from error
        (folder / name).write_text(text + "\n", encoding="utf-8")
    text = yaml.safe_dump(_plain(card), sort_keys=False, allow_unicode=True, width=110)
    (folder / CARD).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def verify(folder: Path | str, pinned_digest: str | None = None) -> str:
    """Check every file of a bundle against its digest, and the whole against the pinned one.

    Parameters
    ----------
    folder : Path
    pinned_digest : str, optional
        Without it only corruption is found.

    Returns
    -------
    str
        Digest of the bundle.

    Raises
    ------
    ArtifactError
        Naming the file that is missing, changed or not listed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ArtifactError("The bundle {bundle} has no folder here", bundle=folder.name)
    stated = _stated_digests(folder)
    _check_names(folder, stated)
    for name, wanted in stated.items():
        _check_file(folder / name, wanted)
    digest = bundle_digest(stated)
    if pinned_digest is not None and digest != pinned_digest:
        raise ArtifactError(
            "The bundle {bundle} is not the pinned one: its digest must be {wanted}, got {found}",
            bundle=folder.name,
            wanted=pinned_digest,
            found=digest,
        )
    return digest


def _check_names(folder: Path, stated: Mapping[str, str]) -> None:
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {DIGESTS}
    for name in sorted({*stated, *REQUIRED} - present):
        raise ArtifactError("{file} is missing from the bundle {bundle}", file=name, bundle=folder.name)
    for name in sorted(present - set(stated)):
        raise ArtifactError(
            "{file} is in the bundle {bundle}, but {digests} does not list it",
            file=name,
            bundle=folder.name,
            digests=DIGESTS,
        )


def _check_file(path: Path, wanted: str) -> None:
    if not path.is_file() or path.is_symlink():
        raise ArtifactError(
            "{file} in the bundle {bundle} must be a plain file", file=path.name, bundle=path.parent.name
        )
    if (found := _sha256(path)) != wanted:
        raise ArtifactError(
            "{file} in the bundle {bundle} must have SHA-256 {wanted}, got {found}",
            file=path.name,
            bundle=path.parent.name,
            wanted=wanted,
            found=found,
        )


def bundle_digest(digests: Mapping[str, str]) -> str:
    """SHA-256, in hexadecimal, over the sorted lines ``name sha256``."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def _stated_digests(folder: Path) -> dict[str, str]:
    stated = _read_json(folder / DIGESTS)
    if not all(isinstance(value, str) for value in stated.values()):
        raise ArtifactError("{file} in the bundle {bundle} must map names to SHA-256", file=DIGESTS, bundle=folder.name)
    return stated


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bundle(folder: Path | str, pinned_digest: str | None = None) -> Bundle:
    """Verify a bundle and read all but its weights and arrays; raises ArtifactError."""
    folder = Path(folder)
    digest = verify(folder, pinned_digest)
    card = _read_card(folder / CARD)
    return Bundle(
        id=str(card["id"]),
        version=str(card["version"]),
        path=folder,
        card=card,
        preprocessing=_read_json(folder / PREPROCESSING),
        metrics=_read_json(folder / METRICS),
        size_mb=sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
        digest=digest,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(
            "{file} is missing from the bundle {bundle}", file=path.name, bundle=path.parent.name
        ) from error
    except ValueError as error:
        raise ArtifactError(
            "{file} in the bundle {bundle} is no JSON: {error}",
            file=path.name,
            bundle=path.parent.name,
            error=str(error),
        ) from error
    if not isinstance(content, dict):
        raise ArtifactError(
            "{file} in the bundle {bundle} must hold an object", file=path.name, bundle=path.parent.name
        )
    return content


def _read_card(path: Path) -> dict[str, Any]:
    import yaml

    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ArtifactError(
            "{file} in the bundle {bundle} is no YAML: {error}", file=CARD, bundle=path.parent.name, error=str(error)
        ) from error
    if not isinstance(card, dict) or not {"id", "version"} <= set(card):
        raise ArtifactError(
            "{file} in the bundle {bundle} must hold `id` and `version`", file=CARD, bundle=path.parent.name
        )
    return card


def load_model(bundle: Bundle, name: str = MODEL) -> keras.Model:
    """A network of a bundle, verified once more just before its bytes are used.

    Loaded uncompiled, frozen, and in Keras' safe mode: no code from the file is run. Loading takes seconds in a
    process that has not imported TensorFlow yet.
    """
    verify(bundle.path, bundle.digest)
    path = _verified(bundle, name)
    runtime.configure()
    import keras

    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise _unloadable(bundle, name, error) from error
    model.trainable = False  # a shipped network is read only: not even its moving averages may move
    return model


def _verified(bundle: Bundle, name: str) -> Path:
    """The path of one file of a bundle, checked against the digest the bundle was read with."""
    stated = _stated_digests(bundle.path)
    if bundle_digest(stated) != bundle.digest:
        raise ArtifactError("The bundle {bundle} was changed since it was verified", bundle=bundle.id)
    if name not in stated:
        raise ArtifactError("The bundle {bundle} holds no file named {file}", bundle=bundle.id, file=name)
    _check_file(bundle.path / name, stated[name])
    return bundle.path / name


def load_arrays(bundle: Bundle, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of ``<name>.npz`` in a bundle, by the names they were saved under; no pickles."""
    path = _verified(bundle, f"{name}.npz")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (ValueError, OSError) as error:
        raise _unloadable(bundle, path.name, error) from error


def load_estimator(bundle: Bundle, name: str, trusted: Sequence[str] = ()) -> Any:
    """The scikit-learn estimator ``<name>.skops`` of a bundle, verified once more.

    Parameters
    ----------
    trusted : sequence of str
        Types that may be built beside those skops trusts by itself; a file that holds any other is not loaded.
    """
    path = _verified(bundle, f"{name}.skops")
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(trusted))
    except (UntrustedTypesFoundException, ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise _unloadable(bundle, path.name, error) from error


def _unloadable(bundle: Bundle, file: str, error: Exception) -> ArtifactError:
    return ArtifactError(
        "{file} in the bundle {bundle} cannot be loaded: {error}", file=file, bundle=bundle.id, error=str(error)
    )


def load_text(bundle: Bundle, name: str) -> str:
    """The text file ``name`` of a bundle, verified once more."""
    return _verified(bundle, name).read_text(encoding="utf-8")
