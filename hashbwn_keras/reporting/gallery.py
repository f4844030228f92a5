"""The images on which two networks are furthest apart, as figures of the page."""

import base64
import struct
from collections.abc import Sequence
from html import escape

from hashbwn_keras.reporting.data import OutputReport, Worst

_SMALL = 64
"""Pictures with fewer pixels a side are shown with their pixels."""


def worst(outputs: Sequence[OutputReport]) -> str:
    """Return the images of each output; those of all but the first output are folded away."""
    found = [output for output in outputs if output.worst]
    parts = []
    for number, output in enumerate(found):
        name = escape(output.name)
        figures = _figures(output.worst)
        if len(found) == 1:
            parts.append(figures)
        elif not number:
            parts.append(f"<h3>{name}</h3>{figures}")
        else:
            parts.append(f"<details class=more><summary>{name}</summary>{figures}</details>")
    return "".join(parts)


def _figures(images: Sequence[Worst]) -> str:
    pictures = max(len(_pictures(image)) for image in images)
    cell = (150, 98, 230, 300)[pictures]
    figures = "".join(map(_figure, images))
    return f'<div class=worst style="--cell:{cell}px">{figures}</div>'


def _figure(image: Worst) -> str:
    said = ""
    if image.wanted or image.got:
        mark = "b" if image.wanted != image.got else "span"
        said = f": {escape(image.wanted)} → <{mark}>{escape(image.got)}</{mark}>"
    label = f"<i>labelled {escape(image.label)}</i>" if image.label else ""
    shown = _pictures(image)
    pictures = "".join(_picture(png, name, named=len(shown) > 1) for name, png in shown)
    side = f"<div class=side>{pictures}</div>" if pictures else ""
    far = f"<i>distance {image.distance:.3g}</i>"
    return f"<div>{side}<p>image {image.image}{said}{label}{far}</p></div>"


def _pictures(image: Worst) -> list[tuple[str, bytes]]:
    found = [
        ("image", image.picture),
        ("float", image.wanted_picture),
        ("binary", image.got_picture),
    ]
    return [(name, png) for name, png in found if png is not None]


def _picture(png: bytes, name: str, *, named: bool) -> str:
    width, height = struct.unpack(">II", png[16:24])
    small = " pixels" if max(width, height) < _SMALL else ""
    content = base64.b64encode(png).decode()
    return (
        f'<span><i class="pic{small}" role=img aria-label="{name}" '
        f'style="aspect-ratio:{width}/{height};'
        f'background-image:url(data:image/png;base64,{content})"></i>{name if named else ""}</span>'
    )
