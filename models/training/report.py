"""Report of a training: one HTML file in the package, which opens without a network and runs no script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import ImageError
from models.explain import HeatMap, heat_map, over_frame
from models.image_folder import read_image_file
from models.images import decode
from models.opencv import cv2
from models.package import Model
from models.preprocess import resize
from models.regions import inspected_tiles
from models.report_pictures import overlay_address, picture_address
from models.training.drawings import histogram, roc
from models.training.result import TrainingResult
from models.training.sentences import defect_lines, good_only_line, recipe_lines
from models.training.synthetic import KINDS, SIZES
from models.training.train import TrainingOptions
from models.wilson import wilson
from schemas.text import shown

_STYLE = Path(__file__).with_name("report.css")
#: Pictures of a kind, and their longest side in pixels.
_PICTURES, _MAX_SIDE = 8, 320
#: Cells along each side of a heat map.
_HEAT_CELLS = 56
#: Share of synthetic defects found below which the table marks it.
_FEW = 0.6

_Scores = NDArray[np.float64]


def write_report(path: Path, result: TrainingResult, options: TrainingOptions, model: Model) -> None:
    """Write the report.

    Parameters
    ----------
    model
        The trained model, for the heat maps.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    scores, name = package_scores(result), shown(model.name)
    body = [
        f"<h1>Model {_text(name)}</h1>",
        f'<p class="soft">{_text(model.manifest.training.provenance)}. {_text(model.manifest.training.data)}. '
        "All scores of this page are of images that the model had not seen when it scored them.</p>",
        '<div class="figures">',
        *_figures(result, options),
        "</div>",
        *_warnings(result),
        "<h2>Scores</h2>",
        _scores_panel(result, scores),
        *_pictures(result, scores, model),
        *_synthetic(result),
        "<h2>Images</h2>",
        _list(result.survey.lines(result.root)),
        "<h2>Figures and recipes</h2>",
        _list([good_only_line(result, options), *defect_lines(result, options), *recipe_lines(result)]),
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        'img-src data:">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><title>Training of {_text(name)}</title>\n'
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )
    path.write_text(page, encoding="utf-8")


def package_scores(result: TrainingResult) -> dict[str, _Scores]:
    """Return the scores of the training images on the package's scale, where 1/2 is the threshold.

    They are out-of-fold scores of good parts under ``good``, of defective parts under ``defective``.
    """
    if (learned := result.learned) is not None:
        return {
            name: 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
            for name, logits in (("good", learned.good_logits), ("defective", learned.defect_logits))
        }
    low, high = result.best.fit.map_range
    scores = {"good": result.best.fit.scores}
    if result.defects is not None:
        scores["defective"] = result.defects.scores
    return {name: np.clip((values - low) / (high - low), 0, 1) for name, values in scores.items()}


def _figures(result: TrainingResult, options: TrainingOptions) -> Iterator[str]:
    learned, defects = result.learned, result.defects
    figures = learned.figures if learned is not None else defects.figures if defects is not None else None
    if figures is not None:
        low, high = figures.auroc_bounds
        yield _figure("AUROC", f"{figures.auroc:.3f}", f"{low:.3f} to {high:.3f}; 1 tells all parts apart")
        yield _figure("escapes", *_share(*figures.escapes), "defective parts accepted")
        yield _figure("overkill", *_share(*figures.overkill), "good parts rejected")
    else:
        yield _figure("overkill", *_share(*result.overkill), f"{options.overkill:.1%} requested")
        found = np.mean([each.found for each in result.best.synthetic])
        yield _figure("synthetic defects found", f"{found:.0%}", "all kinds and sizes; not those of the product")
    yield _figure("images of good parts", str(len(result.paths)), f"of {result.survey.found} in the folder")
    if defects is not None:
        use = "a test only" if learned is None else f"{len(learned.defect_logits)} learned from"
        yield _figure("images of defective parts", str(len(defects.paths)), use)


def _figure(name: str, value: str, *about: str) -> str:
    return f'<div class="figure">{name}<b>{value}</b><small>{"; ".join(about)}</small></div>'


def _share(count: int, total: int) -> tuple[str, str]:
    low, high = wilson(count, total)
    return f"{count / total:.1%}", f"{low:.1%} to {high:.1%}, {count} of {total}"


def _warnings(result: TrainingResult) -> Iterator[str]:
    yield '<ul class="warnings">'
    for line in result.warnings:
        yield f"<li>{_text(line)}</li>"
    yield f'<li class="note">{_text(result.calibration)}</li>'
    yield "</ul>"


def _scores_panel(result: TrainingResult, scores: dict[str, _Scores]) -> str:
    key = '<span class="key good">good parts</span>'
    if result.defects is None:
        return f'<div class="two"><div class="panel">{key}{histogram(scores, 0.5)}</div></div>'
    key += '<span class="key defective">defective parts</span>'
    curves = {"good": (result.defects.good_scores, result.defects.scores)}
    of_curve = '<span class="key good">learned from good parts only</span>'
    if result.learned is not None:
        curves["defective"] = (result.learned.good_logits, result.learned.defect_logits)
        of_curve += '<span class="key defective">learned from defective parts too</span>'
    return (
        f'<div class="two"><div class="panel">{key}{histogram(scores, 0.5)}</div>'
        f'<div class="panel">{of_curve}{roc(curves)}</div></div>'
    )


def _pictures(result: TrainingResult, scores: dict[str, _Scores], model: Model) -> Iterator[str]:
    yield "<h2>Most suspicious good parts</h2>"
    yield (
        '<p class="soft">Images with the highest scores among the good parts. A defective part among them was put into '
        "the wrong folder: move it, and train again. Point at a picture to see it without the heat map.</p>"
    )
    yield '<div class="cards">'
    defects = result.defects
    # A head has learned from these rows only.
    rows = None if defects is None or result.learned is None else (defects.head_good, defects.head_defective)
    for index in np.argsort(-scores["good"], kind="stable")[:_PICTURES]:
        row = int(index if rows is None else rows[0][index])
        # The finished model has learned these images, and would find nothing in them.
        yield _card(result.paths[row], scores["good"][index], result.root, _unseen_map(result, row))
    yield "</div>"
    if defects is None:
        return
    yield "<h2>Least suspicious defective parts</h2>"
    yield '<div class="cards">'
    for index in np.argsort(scores["defective"], kind="stable")[:_PICTURES]:
        row = int(index if rows is None else rows[1][index])
        yield _card(defects.paths[row], scores["defective"][index], result.root, model)
    yield "</div>"


def _unseen_map(result: TrainingResult, index: int) -> HeatMap | None:
    """Return the heat map of a good image by a model that has not seen it."""
    extractor, fit = result.best.extractor, result.best.fit
    low, high = fit.map_range
    try:
        image = extractor.read(result.paths[index])
    except (ImageError, OSError):
        return None  # it was readable a minute ago
    maps = fit.unseen_maps(index, None if extractor.spec.tiles is None else extractor.features(image))
    cells = (_HEAT_CELLS, _HEAT_CELLS)
    smooth = [
        cv2.resize(np.clip((each - low) / (high - low), 0, 1), cells, interpolation=cv2.INTER_LINEAR) for each in maps
    ]
    tiles = inspected_tiles(image.region, extractor.spec)
    return HeatMap("anomaly", over_frame(zip(tiles, smooth, strict=True), image.frame_wh, image.placement))


def _card(path: Path, score: float, root: Path, shows: HeatMap | Model | None) -> str:
    try:
        data = read_image_file(path)
        decoded = decode(data, colour=True, needed_wh=(_MAX_SIDE, _MAX_SIDE))
        heat = heat_map(data, shows) if isinstance(shows, Model) else shows
    except (ImageError, OSError):
        return ""  # it was readable a minute ago
    width, height = decoded.header.width, decoded.header.height
    scale = min(1.0, _MAX_SIDE / max(width, height))
    picture = resize(decoded.pixels, (max(1, round(width * scale)), max(1, round(height * scale))))
    name = _text(shown(path.relative_to(root)))
    overlay = "" if heat is None else f'<img class="heat" src="{overlay_address(heat)}" alt="">'
    verdict = "rejected" if score >= 0.5 else "accepted"
    return (
        f'<figure class="card"><div class="view"><div class="stack"><img src="{picture_address(picture)}" '
        f'alt="{name}">{overlay}</div></div><figcaption>{name}<br>score {score:.3f}, {verdict}</figcaption></figure>'
    )


def _synthetic(result: TrainingResult) -> Iterator[str]:
    found = {(each.kind, each.size): each for each in result.best.synthetic}
    head = "".join(f'<th class="n" scope="col">{size:.0%} of the side</th>' for size in SIZES)
    yield "<h2>Synthetic defects</h2>"
    yield (
        '<p class="soft">Share of made-up defects on good images that the model of good parts finds, by kind and size. '
        "They are not the defects of the product; they show which changes it can see at all.</p>"
    )
    yield f'<table><thead><tr><th scope="col">kind</th>{head}</tr></thead><tbody>'
    for kind in KINDS:
        cells = (found[kind, size].found for size in SIZES)
        row = "".join(f'<td class="n{" few" if share < _FEW else ""}">{share:.0%}</td>' for share in cells)
        yield f'<tr><th scope="row">{kind}</th>{row}</tr>'
    yield "</tbody></table>"


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(shown(line))}</li>" for line in lines) + "</ul>"


def _text(text: str) -> str:
    return html.escape(text)
