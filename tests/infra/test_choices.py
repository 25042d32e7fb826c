"""Choices of the command line: the same as those of the packages, shown by --help, in upper or lower case."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import pytest
from typer.testing import CliRunner

from actuators.settings import OnDrift
from infra.cli.commands import COMMANDS, load
from infra.cli.root import app
from infra.cli.shared import choices
from models.input_spec import InputSpec
from models.manifest import OutputSpec
from models.sample_format import Alignment, BayerPattern
from models.task_spec import DetectionOptions, Suppression, Task
from models.training.embedding import EMBEDDINGS
from models.training.train import RECIPES
from monitoring.quality.figures import GroupBy
from producers.bounded_queue import Policy
from producers.cameras.disturbed import Disturbance
from producers.encoding import EncodeMode
from producers.spool.options import DrainOrder, SpoolMode, Sync, WhenFull
from replay.archive.collector import ARCHIVED
from replay.past.selection import TimeBasis
from schemas.records import Action, DriftType
from transport.belief import SignaturePolicy
from transport.public_keys import SignerRole


def _values_of(block: Any, field: str) -> tuple[str, ...]:
    return get_args(block.model_fields[field].annotation)


@pytest.mark.parametrize(
    ("choice", "values"),
    [
        (choices.AlignmentChoice, get_args(Alignment)),
        (choices.BayerChoice, get_args(BayerPattern)),
        (choices.EncodeModeChoice, get_args(EncodeMode)),
        (choices.PolicyChoice, get_args(Policy)),
        (choices.SpoolModeChoice, (*get_args(SpoolMode), "off")),
        (choices.WhenFullChoice, get_args(WhenFull)),
        (choices.DrainOrderChoice, get_args(DrainOrder)),
        (choices.SyncChoice, get_args(Sync)),
        (choices.OnDriftChoice, tuple(OnDrift)),
        (choices.FailsafeChoice, tuple(action.lower() for action in Action if action is not Action.ACCEPT)),
        (choices.DriftTypeChoice, ("any", *(each.lower() for each in DriftType))),
        (choices.SignatureChoice, tuple(SignaturePolicy)),
        (choices.SignerChoice, tuple(SignerRole)),
        (choices.GroupByChoice, get_args(GroupBy)),
        (choices.TimeBasisChoice, tuple(TimeBasis)),
        (choices.DisturbanceChoice, tuple(Disturbance)),
        (choices.EmbeddingChoice, tuple(EMBEDDINGS)),
        (choices.RecipeChoice, tuple(recipe.name for recipe in RECIPES)),
        (choices.TaskChoice, get_args(Task)),
        (choices.ColourChoice, _values_of(InputSpec, "colour")),
        (choices.LayoutChoice, _values_of(InputSpec, "layout")),
        (choices.ResizeChoice, _values_of(InputSpec, "resize")),
        (choices.ActivationChoice, _values_of(OutputSpec, "activation")),
        (choices.BoxChoice, _values_of(DetectionOptions, "box")),
        (choices.CoordinatesChoice, _values_of(DetectionOptions, "coordinates")),
        (choices.SuppressionChoice, get_args(Suppression)),
    ],
)
def test_choices_are_those_of_the_packages(choice: Any, values: tuple[str, ...]) -> None:
    assert set(get_args(choice)) == set(values)


def descriptors() -> Iterator[tuple[str, Any]]:
    """Name, annotation and settings of every option of every command."""
    for name in COMMANDS:
        command = load(name)
        parts = getattr(command, "commands", {})
        for path, each in ((name, command), *((f"{name} {part}", found) for part, found in parts.items())):
            yield from (
                (f"{path} {found.name}", found.type_descriptor) for found in each.params if found.name != "help"
            )


def is_choice(annotation: Any) -> bool:
    """Return True for a Literal or an enumeration, also in a list or beside None."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal or (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return True
    return any(is_choice(each) for each in parts)


def test_upper_and_lower_case_are_the_same() -> None:
    found = {name: kind for name, kind in descriptors() if is_choice(kind.annotation)}
    assert len(found) >= 12
    assert [name for name, kind in found.items() if kind.parameter_info.case_sensitive] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("actuate", "--failsafe", "accept"), "'reject', 'review'"),
        (("actuate", "--on-drift", "panic"), "'nothing', 'review', 'stop'"),
        (("actuate", "--drift-type", "all"), "'any', 'data', 'concept'"),
        (("produce", "--camera", "synthetic", "--policy", ""), "'drop-oldest', 'drop-newest', 'block'"),
        (("quality", "--by", "\x1b[2J"), "'camera', 'lot', 'class', 'model'"),
        (("archive", "--to", "here", "--only", "frame"), "'frames', 'decisions'"),
    ],
)
def test_another_value_is_refused_with_the_choices(arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
    assert "\x1b[2J" not in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("actuate", "--failsafe", "Z" * 100_000), "'reject', 'review'"),
        (("actuate", "--belt-ms", "1 " * 50_000), "--belt-ms"),
        (("dead-letters", "list", "--limit", "9" * 400), "is out of range"),
        (("worker", "--threads", "-" + "9" * 400), "is out of range"),
        (("produce", "--camera", "synthetic", "--spool-mib", "9" * 20), "is out of range"),
        (("quality", "--" + "z" * 100_000), "No such option"),
        (("quality", "x" * 100_000), "unexpected extra argument"),
        (("images", "z" * 100_000), "No such command"),
        (("z" * 100_000,), "No such command"),
        (("--" + "z" * 100_000,), "No such option"),
    ],
)
def test_an_error_does_not_repeat_all_that_was_typed(arguments: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert says in done.output
    assert len(done.output) < 4_000


def test_a_choice_in_upper_case_is_taken() -> None:
    arguments = ("produce", "--camera", "synthetic", "--policy", "BLOCK", "--fps", "0")
    done = CliRunner().invoke(app, arguments)
    assert "fps" in str(done.exception), done.output


def test_topics_that_can_be_archived() -> None:
    assert [str(each) for each in choices.ArchivedTopic] == [topic.suffix for topic in ARCHIVED]
