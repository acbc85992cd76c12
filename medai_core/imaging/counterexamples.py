"""Images no scan model was made for, drawn in code: what the gate learns to refuse and is measured on.

Nothing here is anyone's picture. Natural photographs are imitated by dead leaves (Lee, Mumford and Huang
2001: overlapping shapes of power-law sizes have the statistics of natural images) and by 1/f textures;
other body parts by soft phantoms with bone-like shells; documents by set text and tables.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from medai_core.imaging.prepare import SIZE

Picture = NDArray[np.uint8]
Rng = np.random.Generator


def inverted(image: Picture, rng: Rng) -> Picture:
    """Negative of a right image: black bones on white."""
    return 255 - image


def rotated(image: Picture, rng: Rng) -> Picture:
    """A right image turned by 90° either way, or upside down."""
    return np.ascontiguousarray(np.rot90(image, rng.choice([1, 3, 3, 1, 2])))


def cropped(image: Picture, rng: Rng) -> Picture:
    """A window of 20 to 42 % of each side, blown up: too little is left of the organ."""
    size = image.shape[0]
    height, width = (int(size * rng.uniform(0.20, 0.42)) for _ in range(2))
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    part = Image.fromarray(image[top : top + height, left : left + width])
    return np.asarray(part.resize((size, size), Image.Resampling.BILINEAR))


def shuffled(image: Picture, rng: Rng) -> Picture:
    """The image cut into 2 × 2 to 4 × 4 tiles in another order: right texture, no anatomy."""
    tiles = int(rng.integers(2, 5))
    side = SIZE // tiles
    order = rng.permutation(tiles * tiles)
    while (order == np.arange(tiles * tiles)).all():  # one in 24 for 2 × 2: that would be a right image
        order = rng.permutation(tiles * tiles)
    out = np.zeros_like(image)
    for to, source in enumerate(order):
        (r, c), (i, j) = divmod(to, tiles), divmod(int(source), tiles)
        out[r * side : (r + 1) * side, c * side : (c + 1) * side] = image[
            i * side : (i + 1) * side, j * side : (j + 1) * side
        ]
    return out


def _spectrum_noise(rng: Rng, power: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls with spatial frequency to the given power, (SIZE, SIZE) in [0, 1]."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    frequency[0, 0] = 1
    wave = np.fft.ifft2(np.fft.fft2(rng.normal(size=(SIZE, SIZE))) / frequency**power).real
    low, high = np.quantile(wave, [0.01, 0.99])
    return np.clip((wave - low) / (high - low + 1e-9), 0, 1)


def noise(rng: Rng) -> Picture:
    """White, coloured, speckled or salt-and-pepper noise."""
    kind = rng.integers(4)
    if kind == 0:
        field = rng.normal(rng.uniform(0.3, 0.7), rng.uniform(0.05, 0.4), (SIZE, SIZE))
    elif kind == 1:
        field = _spectrum_noise(rng, rng.uniform(0.2, 1.0))
    elif kind == 2:
        field = rng.choice([0.0, 0.5, 1.0], (SIZE, SIZE), p=[0.2, 0.6, 0.2])
    else:
        field = rng.rayleigh(rng.uniform(0.1, 0.4), (SIZE, SIZE))
    return _to_bytes(field)


def blank(rng: Rng) -> Picture:
    """One grey, a slow gradient, or a bright field with dark rims."""
    level, slope = rng.uniform(0, 1), rng.uniform(0, 0.4) * rng.integers(0, 2)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, SIZE), np.linspace(-0.5, 0.5, SIZE))
    field = level + slope * (x * np.cos(angle) + y * np.sin(angle)) + rng.normal(0, 0.01, (SIZE, SIZE))
    if rng.random() < 0.3:
        field = field - rng.uniform(0.3, 1.5) * (x**2 + y**2)
    return _to_bytes(field)


def document(rng: Rng) -> Picture:
    """A page, form or screen of text and lines."""
    paper, ink = (245, 30) if rng.random() < 0.75 else (25, 230)
    page = Image.new("L", (256, 256), paper)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=int(rng.integers(7, 26)))
    letters = list("abcdefghijklmnopqrstuvwxyz     ,.0123456789ABCDEFGH")
    y = int(rng.integers(2, 30))
    while y < 250:
        if rng.random() < 0.85:
            indent = int(rng.integers(4, 40))
            text = "".join(rng.choice(letters, int(rng.integers(8, 60))))
            draw.text((indent, y), text, fill=ink, font=font)
        if rng.random() < 0.12:
            draw.line((4, y, 252, y), fill=ink, width=int(rng.integers(1, 3)))
        y += int(font.size * rng.uniform(1.1, 2.2))
    for _ in range(int(rng.integers(0, 3))):
        corner = rng.integers(0, 180, 2)
        box = (*corner.tolist(), *(corner + rng.integers(20, 76, 2)).tolist())
        draw.rectangle(box, outline=ink, fill=int(rng.integers(0, 255)) if rng.random() < 0.4 else None)
    return np.asarray(page.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def photograph(rng: Rng) -> Picture:
    """Dead leaves over a 1/f texture, lit from one side: the statistics of a natural photograph."""
    canvas = Image.fromarray(_to_bytes(_spectrum_noise(rng, rng.uniform(0.9, 1.8))))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(6, 160))):
        radius = min(3 / rng.random() ** rng.uniform(0.4, 0.9), 70)
        x, y = rng.uniform(-10, SIZE + 10, 2)
        wide = radius * rng.uniform(0.4, 1.6)
        box = (x - wide, y - radius, x + wide, y + radius)
        grey = int(rng.integers(0, 256))
        if rng.random() < 0.5:
            draw.ellipse(box, fill=grey)
        elif rng.random() < 0.5:
            draw.rectangle(box, fill=grey)
        else:
            draw.polygon([tuple(rng.uniform(-radius, radius, 2) + (x, y)) for _ in range(4)], fill=grey)
    canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.2)))
    field = np.asarray(canvas, float) / 255
    texture = _spectrum_noise(rng, 1.0) - 0.5
    light = np.linspace(rng.uniform(0.5, 1), rng.uniform(0.8, 1.2), SIZE)
    return _to_bytes((field + rng.uniform(0, 0.4) * texture) * (light if rng.random() < 0.5 else light[:, None]))


def colour_photograph(rng: Rng) -> Picture:
    """:func:`photograph` in colours of its own, (SIZE, SIZE, 3): what a camera sees that is no scan."""
    light, tint = photograph(rng), np.stack([photograph(rng) for _ in range(3)], -1)
    return np.round(0.5 * light[..., None] + 0.5 * tint).astype(np.uint8)


def other_body_part(rng: Rng) -> Picture:
    """A soft phantom: limbs, rounded trunks and shells on black, in no arrangement of chest or head."""
    x, y = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    field = np.zeros((SIZE, SIZE)) + rng.uniform(0, 0.15)
    for _ in range(int(rng.integers(1, 9))):
        angle = rng.uniform(0, np.pi)
        u = (x - rng.uniform(-0.7, 0.7)) * np.cos(angle) + (y - rng.uniform(-0.7, 0.7)) * np.sin(angle)
        v = -(x - rng.uniform(-0.7, 0.7)) * np.sin(angle) + (y - rng.uniform(-0.7, 0.7)) * np.cos(angle)
        wide, long = rng.uniform(0.05, 0.5), rng.uniform(0.1, 1.6)
        distance = (np.abs(u) / wide) ** 2 + (np.abs(v) / long) ** rng.choice([2, 6])
        soft = 0.5 - 0.5 * np.tanh((distance - 1) * rng.uniform(3, 20))
        field += rng.uniform(-0.4, 0.8) * soft
        if rng.random() < 0.5:
            field += rng.uniform(0.1, 0.6) * np.exp(-((distance - 0.8) ** 2) / rng.uniform(0.005, 0.05))
    field += rng.uniform(0, 0.15) * (_spectrum_noise(rng, 1.2) - 0.5)
    return _to_bytes(field)


def _to_bytes(field: NDArray[np.float64]) -> Picture:
    return np.round(np.clip(field, 0, 1) * 255).astype(np.uint8)


SPOILED: dict[str, Callable[[Picture, Rng], Picture]] = {
    "inverted": inverted,
    "rotated": rotated,
    "cropped": cropped,
    "unlike_training": shuffled,
}
DRAWN: dict[str, Callable[[Rng], Picture]] = {
    "photograph": photograph,
    "document": document,
    "blank": blank,
    "noise": noise,
    "wrong_body_part": other_body_part,
}
