"""Work in threads beside a window."""

import gc
import sys
import threading
import time
import types
import weakref

import psygnal
import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from shiboken6 import isValid

from tomotutor.base.errors import TomoTutorError
from tomotutor.gui.background import Background, hear_threads, told
from tomotutor.gui.welcome.page import WelcomePage


def busy():
    return [[number] for number in range(200_000)]


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_garbage_is_collected_in_the_main_thread_alone(dock, qtbot):
    class Cycle:
        pass

    seen = []
    for _ in range(20):
        garbage = Cycle()
        garbage.itself = garbage
        weakref.finalize(garbage, lambda: seen.append(threading.current_thread()))
    del garbage
    kept = []
    in_thread(lambda: kept.extend(busy()))  # enough objects for Python to collect in the middle
    assert seen == []
    qtbot.waitUntil(lambda: len(seen) == 20)
    assert set(seen) == {threading.main_thread()}
    assert kept


def test_no_result_is_lost_and_the_newest_wins(qtbot):
    found = []
    work = Background(found.append, lambda problem: found.append(str(problem)))
    for number in range(300):  # one after the other
        work.ask(lambda number=number: (busy(), number)[1])
        if number % 50 == 0:
            qtbot.waitUntil(lambda number=number: not work.runs and found[-1] == number)
    qtbot.waitUntil(lambda: not work.runs)
    assert found[-1] == 299
    assert len(found) < 300  # those that waited were given up
    assert found == sorted(found)


def test_a_failure_is_told_in_the_main_thread_and_nothing_after_the_end(qtbot):
    heard = []
    work = Background(heard.append, lambda problem: heard.append((told(problem), threading.current_thread())))

    def fail():
        raise TomoTutorError("t.mrc: damaged")

    work.ask(fail)
    qtbot.waitUntil(lambda: len(heard) == 1)
    assert heard == [("t.mrc: damaged", threading.main_thread())]
    release = threading.Event()
    work.ask(lambda: (release.wait(), heard.append("ran")))
    work.stop()
    assert not work.runs
    release.set()
    qtbot.waitUntil(lambda: heard[1:] == ["ran"])
    qtbot.wait(50)
    assert heard[1:] == ["ran"]


@pytest.mark.parametrize("problem, text", [(ValueError("odd"), "ValueError: odd"), (KeyError(), "KeyError")])
def test_an_unforeseen_error_names_its_kind(problem, text):
    assert told(problem) == text


def test_a_window_answers_while_something_runs(qtbot):
    work, ticks = Background(lambda _: None, lambda _: None), []
    work.ask(time.sleep, 0.2)
    qtbot.waitUntil(lambda: ticks.append(1) or not work.runs)
    assert len(ticks) > 3


def test_a_page_that_is_gone_hears_nothing(qtbot, tmp_path):
    page, release, tried = WelcomePage(), threading.Event(), []

    def wait(report):
        release.wait()
        tried.append(1)
        raise TomoTutorError("late")

    page.make(tmp_path, wait)
    page.deleteLater()
    QCoreApplication.sendPostedEvents(page, QEvent.Type.DeferredDelete)
    assert not isValid(page)
    release.set()
    with qtbot.captureExceptions() as problems:
        qtbot.waitUntil(lambda: tried == [1])
        qtbot.wait(100)
    assert problems == []


def test_a_listener_that_is_gone_takes_no_other_s_news(qtbot):
    class Source:
        told = psygnal.Signal(int)

    class Listener:
        def __init__(self, heard):
            self.heard = heard

        def hear(self, number):
            self.heard.append(number)

    hear_threads()
    source, heard = Source(), []
    gone, stays = Listener(heard), Listener(heard)
    source.told.connect(gone.hear, thread="main")
    source.told.connect(stays.hear, thread="main")
    thread = threading.Thread(target=source.told.emit, args=(1,))
    thread.start()
    thread.join()
    del gone
    qtbot.waitUntil(lambda: bool(heard))
    qtbot.wait(30)
    assert heard == [1]


def test_what_was_imported_meanwhile_is_not_looked_at_again(dock, qtbot, monkeypatch):
    before = gc.get_freeze_count()
    kept = [[number] for number in range(50_000)]  # as many objects as a large import makes
    for number in range(250):
        monkeypatch.setitem(sys.modules, f"_tomotutor_test_{number}", types.ModuleType("made"))
    qtbot.waitUntil(lambda: gc.get_freeze_count() > before + 50_000, timeout=5000)
    assert len(kept) == 50_000
