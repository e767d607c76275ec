"""`leadline demo`: the main job on pairs that leadline renders itself."""

from __future__ import annotations

from pathlib import Path

import click

DATA = "procedural:6,seed=2718281,size=240x480"
SHOWN = 3  # pairs whose pictures are written


@click.command("demo")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--model", "models", multiple=True, default=("plummet-s", "sgbm"), show_default=True)
def command(output: Path, models: tuple[str, ...]) -> None:
    """Render pairs, predict them with a network and with SGBM, evaluate both, write pictures and a point cloud.

    The scenes' seed belongs to no training run.
    """
    import leadline
    from leadline.cli.evaluate import print_tables
    from leadline.evaluation import evaluate

    data = leadline.open_data(DATA)
    predictors = {name: leadline.load(name) for name in models}
    click.echo(f"Rendering {len(data)} stereo pairs and predicting them with {', '.join(models)} ...")
    samples = list(data)
    for sample in samples[:SHOWN]:
        _write_picture(output / f"{sample.name}.png", sample, predictors)
    _write_cloud(output / "cloud.ply", samples[0], next(iter(predictors.values())))
    results = evaluate(predictors, data)
    print_tables(results)
    results.to_csv(output / "table.csv")
    click.echo(f"\n{output}/scene_*.png   left view, truth, then disparity and error of each model")
    click.echo(f"{output}/cloud.ply      coloured point cloud of the first pair by {models[0]}, in metres")
    click.echo(f"{output}/table.csv      the table above, with every metric")
    click.echo("Next: leadline predict LEFT RIGHT --focal PX --baseline M -o out/mine")


def _write_picture(path: Path, sample, predictors) -> None:
    import numpy as np

    from leadline.colors import color_disparity, color_error
    from leadline.data.formats.images import write_image

    left, right = sample.images
    top = float(sample.disparity.max())
    rows = [np.hstack([left, color_disparity(sample.disparity, max_disparity=top)])]
    for predictor in predictors.values():
        disparity = predictor.predict(left, right)
        error = color_error(np.abs(disparity - sample.disparity), sample.valid)
        rows.append(np.hstack([color_disparity(disparity, max_disparity=top), error]))
    write_image(path, np.vstack(rows))


def _write_cloud(path: Path, sample, predictor) -> None:
    from leadline.data.formats.ply import write_ply
    from leadline.geometry.cloud import point_cloud

    disparity = predictor.predict(*sample.images)
    points, colours = point_cloud(disparity, sample.images[0], sample.camera)
    write_ply(path, points, colours)
