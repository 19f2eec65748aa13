"""Pictures of a session, drawn by matplotlib into axes that the screen or a file owns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from tomotutor.base.files import new_file
from tomotutor.session.status import CurvePoint


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG by the ending of its name, whole or not at all; the same figure gives
    the same file.
    """
    kind = path.suffix[1:]
    with new_file(path) as partial, rc_context({"svg.hashsalt": path.name}):
        figure.savefig(partial, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)


def draw_learning_curve(axes: Axes, curve: Sequence[CurvePoint], ink: str = "black") -> None:
    """Draw audit accuracy with its Wilson interval against labels, and accuracy on a test set and of the pool where
    known.
    """
    axes.tick_params(colors=ink)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for spine in axes.spines.values():
        spine.set_color(ink)
    axes.set_xlabel("labels")
    axes.set_ylabel("mean IoU" if any("pool_miou" in p.metrics for p in curve) else "accuracy")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    pool, test = "final answer for the pool", "test set"
    for key, name in (("pool_accuracy", pool), ("test_accuracy", test), ("pool_miou", pool), ("test_miou", test)):
        known = [(p.labels, p.metrics[key]) for p in curve if key in p.metrics]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", markersize=3, label=name)
    points = [
        (p.labels, p.audit.accuracy, *p.audit.interval)
        for p in curve
        if p.audit.accuracy is not None and p.audit.interval is not None
    ]
    if points:
        labels, accuracy, low, high = np.array(points).T
        axes.errorbar(
            labels,
            accuracy,
            [accuracy - low, high - accuracy],
            fmt="s-",
            color=ink,
            markersize=4,
            capsize=3,
            linewidth=1,
            label=f"check particles (95 %, n = {curve[-1].audit.n})",
        )
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", fontsize="small", labelcolor=ink, facecolor="none")
    else:
        axes.text(
            0.5,
            0.5,
            "no accuracy yet:\nit comes with check particles\nthat are labeled, after a training",
            ha="center",
            va="center",
            color=ink,
            transform=axes.transAxes,
        )


def learning_curve(curve: Sequence[CurvePoint]) -> Figure:
    """Return the learning curve as a figure."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    draw_learning_curve(figure.subplots(), curve)
    return figure


def confusion(true_N: np.ndarray, predicted_N: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Return a confusion matrix: rows are true classes, counts in the cells, shade the share of the row."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (true_N, predicted_N), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = max(4.0, 0.55 * len(classes) + 2)
    figure = Figure(figsize=(size + 0.5, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize="medium")
    for (i, j), n in np.ndenumerate(counts):
        if n:
            axes.text(
                j,
                i,
                str(n),
                ha="center",
                va="center",
                fontsize="small",
                color="white" if share[i, j] > 0.5 else "black",
            )
    return figure


def thumbnail(x_C: np.ndarray) -> np.ndarray:
    """Return a 2D picture of an item: the mean of the central slices of a smoothed volume, or the image itself.

    Parameters
    ----------
    x_C : ndarray
        (C, z, y, x) or (C, y, x) as `Pool.read` gives it.

    Returns
    -------
    ndarray
        (y, x) or (y, x, 3) float32 from 0 to 1.
    """
    if x_C.ndim == 4:
        middle = x_C.shape[1] // 2
        picture = gaussian_filter(x_C[0], 1.0)[max(0, middle - 2) : middle + 3].mean(0)
    else:
        picture = x_C[0] if len(x_C) == 1 else np.moveaxis(x_C[:3], 0, -1)
    low, high = np.percentile(picture, (1, 99))
    return np.clip((picture - low) / max(float(high - low), 1e-9), 0, 1).astype(np.float32)


def montage(items_NC: np.ndarray, titles: Sequence[str], title: str) -> Figure:
    """Return items as a grid of thumbnails with a line of text below each."""
    return picture_grid([thumbnail(x_C) for x_C in items_NC], titles, title)


def picture_grid(pictures: Sequence[np.ndarray], titles: Sequence[str], title: str, across: int = 8) -> Figure:
    """Return pictures as a grid with a line of text below each."""
    across = min(across, max(1, len(pictures)))
    down = max(1, -(-len(pictures) // across))
    figure = Figure(figsize=(1.5 * across, 1.75 * down + 0.4), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    for axes in figure.subplots(down, across, squeeze=False).flat:
        axes.axis("off")
    for axes, picture, text in zip(figure.axes, pictures, titles, strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axes.set_title(text, fontsize=6)
    return figure


def iou_bars(iou_C: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Return the intersection over union of each class as bars; a class that is nowhere has none."""
    figure = Figure(figsize=(6, 0.3 * len(classes) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(classes, np.nan_to_num(iou_C))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("intersection over union")
    axes.set_title(title, fontsize="medium")
    for y, iou in enumerate(iou_C.tolist()):
        axes.text(
            0.01 if np.isnan(iou) else iou + 0.01,
            y,
            "–" if np.isnan(iou) else f"{iou:.2f}",
            va="center",
            fontsize="small",
        )
    return figure


def mask_picture(x_C: np.ndarray, mask_YX: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return an image with its mask over it, (y, x, 3) from 0 to 1; `colours` is the (256, 3) palette of the mask."""
    picture = thumbnail(x_C)
    grey = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    return 0.45 * grey + 0.55 * colours[mask_YX].astype(np.float32) / 255
