"""Gallery of parts that a person should look at; a card has the picture, the defects, the decisions and the place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from models.errors import ImageError
from models.explain import heat_map
from models.package import Model
from replay.analysis.comparison_results import Comparison
from replay.analysis.results import Analysis
from replay.analysis.table import Table
from replay.export.pictures import image_of
from replay.past.replayed_frame import ReplayedFrame
from replay.report.cards import Card, card_of, with_heat
from schemas.records import Decision, Defect, Frame
from transport.image_store import ImageStore, ImageStoreError
from transport.stored_message import MessagePosition, StoredMessage

_TITLES = {
    "escapes": ("Escapes", "Defective by their label, and accepted: the most certain first."),
    "overkill": ("Overkill", "Good by their label, and rejected: the most certain first."),
    "disagreements": ("Disagreements", "One decider accepts, the other rejects."),
    "nearest": ("Nearest misses", "Nearest to their threshold, with a label or without."),
}


@dataclass(frozen=True, slots=True)
class Section:
    """Cards of one kind: rows of the table, and the number of further rows."""

    name: str
    title: str
    about: str
    rows: tuple[int, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Gallery:
    """Sections, and the cards of their rows.

    `choose` selects the frames to fetch (`positions`, `frame_ids`); `with_pictures` makes the cards.
    """

    sections: tuple[Section, ...]
    table: Table = field(repr=False)
    cards: Mapping[int, Card] = field(default_factory=dict, repr=False)

    @classmethod
    def choose(
        cls, analysis: Analysis, table: Table, comparison: Comparison | None = None, *, each: int = 8
    ) -> Gallery:
        """Choose the first rows of each ranking; a part in one section is not repeated in a later one."""
        ranked = {name: getattr(analysis.rankings, name) for name in _TITLES}
        if comparison is not None:
            ranked["disagreements"] = tuple(part.row for part in comparison.changed) or ranked["disagreements"]
        taken: set[int] = set()
        sections = []
        for name, (title, about) in _TITLES.items():
            rows = [row for row in ranked[name] if row not in taken]
            if rows:
                sections.append(Section(name, title, about, tuple(rows[:each]), len(rows[each:])))
                taken |= set(rows[:each])
        return cls(tuple(sections), table)

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the table that are shown."""
        return tuple(row for section in self.sections for row in section.rows)

    @property
    def positions(self) -> tuple[MessagePosition, ...]:
        """Places of their frames."""
        names = ("topic", "partition", "offset")
        return tuple(
            MessagePosition(str(topic), int(partition), int(offset))
            for topic, partition, offset in zip(*(self.table[n][list(self.rows)] for n in names), strict=True)
        )

    @property
    def frame_ids(self) -> frozenset[str]:
        """Ids of their frames, to select the decisions."""
        return frozenset(self.table["frame_id"][list(self.rows)])

    def with_pictures(
        self,
        frames: Iterable[StoredMessage[Frame]],
        replayed: Iterable[ReplayedFrame] = (),
        *,
        decider: int = 0,
        model: Model | None = None,
        store: ImageStore | None = None,
        steps: int = 7,
        on_progress: Callable[[int, int], object] = lambda done, count: None,
    ) -> Gallery:
        """Return the gallery with pictures from frames, boxes from decisions, and heat maps from a model.

        Parameters
        ----------
        frames
            Frames of `positions`, as `replay.past.reads.read_frames` yields them; a card without a frame
            says that it is missing.
        replayed
            Frames with the decisions whose boxes are drawn; frames that are not shown are skipped.
        decider
            Decider whose boxes are drawn: 0 for the recorded decision, 1 for the first variant, and so on.
        model
            Model for heat maps, see `models.explain`; it should be the one that the report is about. None for no heat
            maps.
        steps
            See `models.explain.heat_map`: ``steps ** 2 + 1`` inferences for each card.
        on_progress
            Called with the number of cards made, and of cards in all.
        """
        wanted = self.frame_ids
        defects = {
            one.identity.frame_id: decision.defects
            for one in replayed
            if one.identity.frame_id in wanted and (decision := _decision(one, decider)) is not None
        }
        by_position = dict(zip(self.positions, self.rows, strict=True))
        cards = {}
        on_progress(0, len(by_position))
        for found in frames:
            row = by_position.get(found.position)
            if row is not None and row not in cards:
                cards[row] = _card(row, found, defects.get(str(self.table["frame_id"][row]), ()), model, store, steps)
                on_progress(len(cards), len(by_position))
        return Gallery(self.sections, self.table, cards)

    def card(self, row: int) -> Card:
        """Return the card of a row."""
        return self.cards.get(row) or Card(row=row, missing="the frame is not there any more")


def _decision(one: ReplayedFrame, decider: int) -> Decision | None:
    if decider == 0:
        return one.recorded
    return one.replayed[decider - 1] if decider <= len(one.replayed) else None


def _card(
    row: int,
    found: StoredMessage[Frame],
    defects: Sequence[Defect],
    model: Model | None,
    store: ImageStore | None,
    steps: int,
) -> Card:
    if found.record is None:
        return Card(row=row, missing=f"no frame: {found.problem}"[:200])
    try:
        data = image_of(found.record, store)
        heat = None if model is None else heat_map(data, model, steps=steps)
        card = card_of(row, data, defects)
        return card if heat is None else with_heat(card, heat)
    except (ImageError, ImageStoreError) as error:
        return Card(row=row, missing=f"{error.kind}: {error}"[:200])
