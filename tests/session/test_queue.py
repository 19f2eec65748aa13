from tomotutor.session.queue import Queue


class Answers(set):
    def queue(self, rows):
        q = Queue(lambda row: row not in self)
        q.refill(rows)
        return q


def test_it_goes_through_in_order():
    done = Answers()
    q = done.queue([5, 6, 7])
    assert (q.current, q.upcoming(5)) == (5, [6, 7])
    done.add(5)
    q.advance()
    assert (q.current, q.upcoming(1)) == (6, [7])
    for row in (6, 7):
        done.add(row)
        q.advance()
    assert q.current is None
    assert q.upcoming(3) == []


def test_refilling_keeps_the_current_row_in_front():
    q = Answers().queue([1, 2, 3])
    q.refill([3, 1, 2])
    assert q.current == 1
    assert q.upcoming(5) == [3, 2]


def test_refilling_an_empty_queue_goes_on():
    q = Answers().queue([])
    assert q.current is None
    q.refill([4])
    assert q.current == 4


def test_back_and_forth():
    done = Answers()
    q = done.queue([1, 2, 3, 4])
    for row in (1, 2):
        done.add(row)
        q.advance()
    assert q.back()
    assert q.back()
    assert q.current == 1
    assert not q.back()
    q.advance()  # answered again: on to the first that wants an answer
    assert q.current == 3
    assert q.upcoming(5) == [4]


def test_a_skipped_row_comes_again_at_the_end():
    done = Answers()
    q = done.queue([1, 2, 3])
    q.postpone(1)
    assert q.current == 2
    assert q.upcoming(5) == [3, 1]
    q.back()
    assert q.current == 1  # the way back to a skipped item
    q.advance()
    for row in (2, 3):
        assert q.current == row
        done.add(row)
        q.advance()
    assert q.current == 1


def test_skipping_the_last_row_leaves_it_there():
    q = Answers().queue([1])
    q.postpone(1)
    assert q.current == 1


def test_skipping_round_and_round():
    q = Answers().queue([1, 2, 3])
    seen = []
    for _ in range(7):
        seen.append(q.current)
        q.postpone(q.current)
    assert seen == [1, 2, 3, 1, 2, 3, 1]


def test_showing_out_of_turn_keeps_the_current_row_next():
    done = Answers()
    q = done.queue([1, 2, 3])
    q.show(3)
    assert q.current == 3
    assert q.upcoming(5) == [1, 2]
    done.add(3)
    q.advance()
    assert q.current == 1


def test_rows_answered_elsewhere_are_passed_over():
    done = Answers()
    q = done.queue([1, 2, 3, 4])
    done.update((2, 3))
    assert q.upcoming(5) == [4]
    done.add(1)
    q.advance()
    assert q.current == 4
