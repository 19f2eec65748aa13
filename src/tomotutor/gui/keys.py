"""Keys that label, wherever in the window the focus is.

With an Image layer active, napari's layer keys win over bindings on the viewer, so 1 and 2 would never arrive (napari
issue 6440). An event filter of the application sees a key press first.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QTextEdit,
    QWidget,
)
from typing_extensions import override

_SIGNS = (Qt.Key.Key_Plus, Qt.Key.Key_Slash)  # many keyboards have them above another key
_TEXT = (QLineEdit, QPlainTextEdit, QTextEdit, QAbstractSpinBox, QComboBox)


def quiet_button(text: str, tip: str) -> QPushButton:
    """Return a button that never takes the focus: keys label, they press no button."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button


class KeyFilter(QObject):
    """Turns key presses in napari's window, and in that of `owner` where it floats, into calls, unless a text is being
    typed or the owner is not visible.

    Parameters
    ----------
    owner : QWidget
        The widget that the keys belong to.
    window : QWidget
        napari's window.
    actions : dict
        Qt key to what it does; with Ctrl held, only keys in `with_control` act.
    with_control, with_both : dict
        Qt key to what Ctrl and that key do; `with_both` with Shift held, too.
    """

    def __init__(
        self,
        owner: QWidget,
        window: QWidget,
        actions: dict[int, Callable[[], object]],
        with_control: dict[int, Callable[[], object]],
        with_both: dict[int, Callable[[], object]],
    ) -> None:
        super().__init__(owner)
        self._owner = owner
        self._window: QWidget | None = window
        self._actions = actions
        self._with_control, self._with_both = with_control, with_both
        application = QApplication.instance()
        assert application is not None
        application.installEventFilter(self)

    @override
    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind not in (QEvent.Type.KeyPress, QEvent.Type.ShortcutOverride):
            return False
        action = self._find(target, event)
        if action is None:
            return False
        event.accept()
        # a held key labels once
        if kind == QEvent.Type.KeyPress and not event.isAutoRepeat():  # type: ignore[attr-defined]
            action()
        return True

    def _find(self, target: QObject, event: QEvent) -> Callable[[], object] | None:
        focus = QApplication.focusWidget()
        if (
            not isinstance(target, QWidget)
            or isinstance(target, _TEXT)
            or isinstance(focus, _TEXT)
            or not self._owner.isVisible()
        ):
            return None
        is_here = target.window() in (self._owner.window(), self._window)
        if not is_here or QApplication.activeModalWidget() is not None:
            return None
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier  # type: ignore[attr-defined]
        is_typed = modifiers == Qt.KeyboardModifier.ShiftModifier and event.key() in _SIGNS  # type: ignore[attr-defined]
        if modifiers == Qt.KeyboardModifier.NoModifier or is_typed:
            return self._actions.get(event.key())  # type: ignore[attr-defined]
        if modifiers == Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier:
            return self._with_both.get(event.key())  # type: ignore[attr-defined]
        if modifiers == Qt.KeyboardModifier.ControlModifier:
            return self._with_control.get(event.key())  # type: ignore[attr-defined]
        return None

    def set_actions(self, actions: dict[int, Callable[[], object]]) -> None:
        """Take other actions of keys without Ctrl."""
        self._actions = actions

    def remove(self) -> None:
        """Stop listening."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self)
        self._window = None
