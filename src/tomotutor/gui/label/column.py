"""The Label tab: one item from top to bottom, as much of it as there is room for."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QVBoxLayout, QWidget

from tomotutor.export.figures import thumbnail
from tomotutor.gui.canvas.item import ItemCanvas, Rendering
from tomotutor.gui.canvas.painting import MaskPainter
from tomotutor.gui.label.answers import ClassPanel
from tomotutor.gui.label.drawing import ItemDrawer
from tomotutor.gui.label.reason import Opinion
from tomotutor.gui.label.references import References
from tomotutor.gui.label.slices import OrthoSlices
from tomotutor.gui.label.view_controls import ViewControls
from tomotutor.gui.particles.gallery import Gallery
from tomotutor.gui.theme import Colours
from tomotutor.session import Session
from tomotutor.session.status import ItemView, PoolMap

_TALL, _ROOMY = 630, 440  # pixels beside the classes that the next items need, which the grid shows, too; references


class LabelColumn(QWidget):
    """Title, slices, references, controls of the view, reason, classes and the next items.

    Parameters
    ----------
    session : Session
        The session.
    canvas, painter
        Where an item is drawn, too; `painter` in segmentation.
    panel : ClassPanel
        The classes and the buttons that answer.
    colours : Colours
        Of the theme.
    say : callable
        Told of an item that cannot be read.
    """

    def __init__(
        self,
        session: Session,
        canvas: ItemCanvas,
        painter: MaskPainter | None,
        panel: ClassPanel,
        colours: Colours,
        say: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._session, self._masks, self._panel = session, painter is not None, panel
        self._height, self._wants_references = 2 * _TALL, True
        self.opinion = Opinion(session)
        self.slices = OrthoSlices()
        self.view = ViewControls(
            [r.value for r in Rendering],
            canvas.density_percent,
            canvas.sigma,
            volumes=session.pool.ndim == 3,
            denoised=session.denoised is not None,
        )
        self.drawer = ItemDrawer(session, canvas, self.slices, painter, self.view.denoised.isChecked, say)
        self.references = References(session, self.drawer.picture, colours)
        self.gallery = Gallery(lambda row: thumbnail(self.drawer.read(row)), colours)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 4, 0, 0)
        self._column.setSpacing(5)
        self._column.addWidget(self.opinion.title)
        self._column.addWidget(self.slices, 1)
        for widget in (self.references, self.view, self.opinion.reason, panel, self.gallery):
            self._column.addWidget(widget)
        self.fit(self._height)

    def show_item(self, item: ItemView | None, early: PoolMap | None) -> None:
        """Show what is known of an item and what comes next; `early` is the map of the pool before the first round."""
        self.opinion.show(item, early)
        self.references.show_item(item)
        self.gallery.classes = () if self._masks else self._session.classes
        self.gallery.set_items(self._session.upcoming(Gallery.COUNT), early)

    def set_panel(self, panel: ClassPanel) -> None:
        """Take another panel of classes."""
        self._column.replaceWidget(self._panel, panel)
        self._panel.deleteLater()
        self._panel = panel
        self.fit(self._height)

    def set_colours(self, colours: Colours) -> None:
        """Follow the theme."""
        for widget in (self._panel, self.references, self.gallery):
            widget.set_colours(colours)

    def fit(self, height: int) -> None:
        """Leave out what there is no room for, pixels."""
        self._height = height
        height -= self._panel.usual_height
        self.gallery.setVisible(height >= _TALL)
        self.references.setVisible(not self._masks and self._wants_references and height >= _ROOMY)

    def toggle_references(self) -> None:
        """Show or hide the references."""
        self._wants_references = not self._wants_references
        self.fit(self._height)
        self.references.show_item(self._session.current)
