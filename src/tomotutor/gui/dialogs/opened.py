"""The dialogs of a session, each open once at most."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QWidget

from tomotutor.gui.dialogs.classes import ClassesDialog
from tomotutor.gui.dialogs.export import ExportDialog
from tomotutor.session import Session

_KINDS = {"classes": ClassesDialog, "export": ExportDialog}


class Dialogs:
    """Opens the dialogs "classes" and "export" of a session over a widget."""

    def __init__(self, session: Session, parent: QWidget) -> None:
        self._session, self._parent = session, parent
        self._open: dict[str, QDialog] = {}

    def __getitem__(self, name: str) -> QDialog:
        return self._open[name]

    def show(self, name: str) -> None:
        """Open a dialog, or bring the one that is open to the front."""
        if name not in self._open or not self._open[name].isVisible():
            self._open[name] = _KINDS[name](self._session, self._parent)
        self._open[name].show()
        self._open[name].raise_()

    def refresh(self) -> None:
        """Show the classes and their labels as they are now."""
        found = self._open.get("classes")
        if isinstance(found, ClassesDialog) and found.isVisible():
            found.refresh()

    def close(self) -> None:
        """Close all; an export stops at the next particle."""
        for dialog in self._open.values():
            dialog.stop() if isinstance(dialog, ExportDialog) else dialog.close()
