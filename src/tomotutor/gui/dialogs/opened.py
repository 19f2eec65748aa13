"""The dialogs of a session, each open once at most."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QDialog, QInputDialog, QWidget

from tomotutor.gui import settings
from tomotutor.gui.dialogs.classes import ClassesDialog
from tomotutor.gui.dialogs.export import ExportDialog
from tomotutor.gui.dialogs.imported import ImportDialog
from tomotutor.session import Session

_KINDS = {"classes": ClassesDialog, "export": ExportDialog, "import": ImportDialog}


class Dialogs:
    """Opens the dialogs "classes", "export" and "import" of a session over a widget; `look` shows pool rows, and what
    they are.
    """

    def __init__(self, session: Session, parent: QWidget, look: Callable[..., object]) -> None:
        self._session, self._parent, self._look = session, parent, look
        self._open: dict[str, QDialog] = {}

    def __getitem__(self, name: str) -> QDialog:
        return self._open[name]

    def show(self, name: str) -> None:
        """Open a dialog, or bring the one that is open to the front."""
        if name not in self._open or not self._open[name].isVisible():
            dialog = self._open[name] = _KINDS[name](self._session, self._parent)
            if isinstance(dialog, ImportDialog):
                dialog.rows_chosen.connect(self._look)
        self._open[name].show()
        self._open[name].raise_()

    def ask_name(self) -> None:
        """Ask who labels; it is asked once, and kept with each label from then on."""
        self.asked = QInputDialog(self._parent)
        self.asked.setWindowTitle("Who labels?")
        self.asked.setLabelText("your name, kept with each of your labels")
        self.asked.textValueSelected.connect(self._have_name)
        self.asked.open()

    def _have_name(self, name: str) -> None:
        self._session.annotator = name.strip()
        settings.set_annotator(name.strip())

    def refresh(self) -> None:
        """Show the classes and their labels as they are now."""
        found = self._open.get("classes")
        if isinstance(found, ClassesDialog) and found.isVisible():
            found.refresh()

    def close(self) -> None:
        """Close all; an export stops at the next particle."""
        for dialog in self._open.values():
            dialog.close() if isinstance(dialog, ClassesDialog) else dialog.stop()  # type: ignore[attr-defined]
