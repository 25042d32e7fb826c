"""Options for the facts about a model that its file may not state; `init` and `import` have them in common."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from infra.cli.shared.choices import (
    ActivationChoice,
    AlignmentChoice,
    BayerChoice,
    BoxChoice,
    ColourChoice,
    CoordinatesChoice,
    LayoutChoice,
    ResizeChoice,
    SuppressionChoice,
    TaskChoice,
    choice,
)
from infra.cli.shared.options import as_text

_FACTS = "Facts that the file does not state"
_TRAINING = "Training, in words"


def fact(text: str) -> Any:
    """Return the option for a fact about a model."""
    return typer.Option(help=text, callback=as_text, rich_help_panel=_FACTS)


def word(text: str) -> Any:
    """Return the option for a fact about the training."""
    return typer.Option(help=text, callback=as_text, rich_help_panel=_TRAINING)


def _choice(text: str) -> Any:
    return choice(text, rich_help_panel=_FACTS)


TaskFact = Annotated[TaskChoice | None, _choice("Task of the model.")]
ColourFact = Annotated[ColourChoice | None, _choice("Colours that the model takes.")]
LayoutFact = Annotated[LayoutChoice | None, _choice("Order of the axes of the input.")]
SizeFact = Annotated[str | None, fact("WIDTHxHEIGHT of the input, if it is free.")]
ScaleFact = Annotated[str | None, fact("Factor of the pixels from 0 to 255, such as 1/255 or 1; or the word imagenet.")]
MeanFact = Annotated[str | None, fact("Mean of each channel after the factor, such as 0.485,0.456,0.406.")]
StdFact = Annotated[str | None, fact("Standard deviation of each channel.")]
ResizeFact = Annotated[
    ResizeChoice | None,
    _choice("Way of resizing; letterbox keeps the proportions. Default: stretch."),
]
RoiFact = Annotated[
    str | None,
    fact("Part of each frame that is inspected: x,y,width,height in pixels, or corners of a polygon, 'x,y x,y x,y'."),
]
TilesFact = Annotated[
    str | None,
    fact("Tiles that the network sees one by one: columns and rows, such as 2x2, or their size, such as 512x512px."),
]
TileOverlapFact = Annotated[str | None, fact("Share of a tile that its neighbour has too, such as 0.1.")]
BitDepthFact = Annotated[str | None, fact("Bits that the camera measures, 9 to 16, for files of 16 bits.")]
AlignmentFact = Annotated[AlignmentChoice | None, _choice("Place of these bits in a word of 16.")]
WindowFact = Annotated[str | None, fact("LOW,HIGH: sample values that become 0 and 255, such as 0,4095.")]
BayerFact = Annotated[BayerChoice | None, _choice("Pattern of a raw mosaic, of its first two rows.")]
OutputFact = Annotated[str | None, fact("Outputs by role, such as scores=logits or boxes=b,scores=s.")]
ActivationFact = Annotated[ActivationChoice | None, _choice("Step from the output to scores.")]
LabelsFact = Annotated[str | None, fact("Labels in the order of the training, such as good,scratch.")]
GoodLabelFact = Annotated[str | None, fact("Label of good parts; '' for no label.")]
ThresholdFact = Annotated[str | None, fact("Defect score from which a part is rejected, such as 0.5.")]
MapRangeFact = Annotated[str | None, fact("LOW,HIGH: values of an anomaly map for the scores 0 and 1.")]
BoxFact = Annotated[BoxChoice | None, _choice("Numbers of a box.")]
CoordinatesFact = Annotated[CoordinatesChoice | None, _choice("Unit of boxes.")]
FirstClassFact = Annotated[
    str | None, fact("Class number of the first label: 0, or 1 if class 0 is the background. Default: 0, or as known.")
]
SuppressionFact = Annotated[
    SuppressionChoice | None,
    _choice("Boxes that non-maximum suppression compares. Default: none for finished rows, else each_label."),
]
MinAreaFact = Annotated[
    str | None, fact("Least area of a region of a segmentation that is a defect, in pixels of the frame, such as 25.")
]
LabelThresholdsFact = Annotated[
    str | None,
    fact("Threshold of each label, such as scratch=0.3,dent=0.7, for a model of several labels at the same time."),
]
LicenceFact = Annotated[str | None, word("Licence of the weights.")]
DataFact = Annotated[str | None, word("Data of the training.")]
SplitFact = Annotated[str | None, word("Split of the data into training and test.")]
