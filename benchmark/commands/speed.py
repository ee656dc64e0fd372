"""`bench speed`: how fast this machine is, and which options suit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .parts.lines import say

if TYPE_CHECKING:
    from ..speed.encoding import EncodingSpeed

ENOUGH = 1.05  # times as fast, to be worth an option
ENCODING = ("backbone", "pixels", "runtime", "batch", "images/s", "CPU ms an image", "Gflop/s", "of the product's")


def speed(
    backbone: Annotated[
        list[str] | None, typer.Option(help="Backbone to measure with initial weights, also several times; default: seven.")
    ] = None,
) -> None:
    """Measure how fast this machine encodes images and evaluates methods, and recommend --runtime and --batch-size.

    It takes about two minutes. Images of 84 pixels are read, resized and encoded; episodes are 5-way 1-shot. Close other
    programs first. GPUs are not measured.

    Example: bench speed
    """
    from ..features.runtime import version_of
    from ..records.provenance import processor
    from ..speed import encoding as encodings
    from ..speed import methods, rates
    from .parts.terminal import TerminalProgress, print_table

    progress, names = TerminalProgress(), backbone or [*encodings.BACKBONES]
    for name in names:
        encodings.check(name)
    product, copied = rates.product_rate(), rates.copy_rate()
    tested = methods.methods_on_features()
    found: list[EncodingSpeed] = []
    compared = encodings.COMPARED if encodings.COMPARED in names else names[0]
    with progress.track("measuring", len(names) + len(tested)) as advance:
        for name in names:
            batches = encodings.BATCHES if name == compared else (encodings.BATCH,)
            found.extend(encodings.encoding_speeds(name, batches, progress, rates.LONG_ENOUGH))
            advance(1)
        encoded = rates.peak_memory()
        source, episodes = methods.made_up_source(methods.made_up_features()), []
        for name, method in tested.items():
            episodes.append((name, methods.episodes_a_second(method, source)))
            advance(1)
    libraries = " and ".join(version_of(runtime) for runtime in encodings.runtimes())
    say(f"{processor()}, {rates.threads()} threads, {libraries}")
    say(f"large products: {product / 1e9:,.0f} Gflop/s; copying: {copied / 1e9:,.1f} GB/s")
    say("")
    print_table(ENCODING, [row(one, product) for one in found], right=(1, 3, 4, 5, 6, 7))
    say("")
    print_table(("method", "episodes/s"), [[name, f"{rate:,.0f}"] for name, rate in episodes], right=(1,))
    if encoded is not None:
        say("")
        say(f"at most {encoded / 1e9:.2f} GB in memory after encoding, {(rates.peak_memory() or 0) / 1e9:.2f} GB at the end")
    for line in recommended(found, compared):
        say(line)


def row(one: EncodingSpeed, product: float) -> list[str]:
    """A measurement as a row of the table."""
    rate = one.flops / one.image.wall
    images, cpu = f"{1 / one.image.wall:,.1f}", f"{1000 * one.image.cpu:,.1f}"
    return [
        one.backbone,
        str(one.pixels),
        one.runtime,
        str(one.batch),
        images,
        cpu,
        f"{rate / 1e9:,.1f}",
        f"{rate / product:.0%}",
    ]


def recommended(found: list[EncodingSpeed], compared: str) -> list[str]:
    """The options that suit the machine, in words."""
    best: dict[str, EncodingSpeed] = {}
    for one in sorted(found, key=lambda one: one.image.wall):
        best.setdefault(one.backbone, one)
    fastest = best[compared]
    enough = [one for one in found if one.backbone == compared and one.runtime == fastest.runtime]
    batch = min(one.batch for one in enough if one.image.wall < ENOUGH * fastest.image.wall)
    lines = [f"recommended: --runtime auto --batch-size {batch}"]
    if all(one.runtime == "torch" for one in found):
        lines.append("pip install openvino adds a runtime that encodes faster with convolutional networks on most CPUs")
    for name in dict.fromkeys(one.backbone for one in found):
        one = best[name]
        taken = "openvino" if one.gains else "torch"
        others = [other for other in found if other.backbone == name and other.runtime == taken]
        slower = min(others, key=lambda other: other.image.wall).image.wall / one.image.wall if others else 1.0
        if one.runtime != taken and slower > ENOUGH:
            lines.append(f"--runtime {one.runtime} for {name}: {slower:.2f} times as fast as {taken}, which auto takes")
    return lines
