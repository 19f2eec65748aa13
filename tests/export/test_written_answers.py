"""What is written is what the screen shows, and knows every label."""

import shutil

import numpy as np
import pytest

from helpers import answer_truthfully
from tomotutor.export.answers import answers_for
from tomotutor.session import Session


@pytest.fixture(scope="module")
def trained(mapped_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "s"
    shutil.copytree(mapped_session, folder)
    with Session(folder) as session:
        session.set_recipe(session.recipe.replace(steps=4, audit_share=0))
        answer_truthfully(session, 12)
        session.run_round()
    return folder


@pytest.fixture
def session(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "s")
    with Session(tmp_path / "s") as opened:
        yield opened


def test_labels_since_the_last_round_move_what_is_written(session):
    before = answers_for(session)
    answer_truthfully(session, 12)
    after, shown = answers_for(session), session.refresh_answers()
    assert after.labeled_N.sum() == before.labeled_N.sum() + 12
    told = shown.class_N >= 0
    np.testing.assert_array_equal(after.class_N[told], shown.class_N[told])
    np.testing.assert_array_equal(after.confidence_N[told], shown.confidence_N[told])
    rest = ~after.labeled_N
    assert (before.confidence_N[rest] != after.confidence_N[rest]).any()


def test_what_is_asked_again_keeps_its_label(session):
    rows = session.waiting(40)
    session.label_many(rows.tolist(), "slab")
    again = session.state.asked_again()
    assert again
    found = answers_for(session)
    assert found.labeled_N[list(again)].all()
    assert (found.class_N[list(again)] == session.classes.index("slab")).all()
    assert (found.confidence_N[list(again)] == 1).all()


def test_where_rounds_answer_the_last_model_does(session):
    model = session.predictions()
    session.set_recipe(session.recipe.replace(between="round"))
    found = answers_for(session)
    np.testing.assert_array_equal(found.class_N, model.class_N)
    np.testing.assert_array_equal(found.confidence_N, model.confidence_N)


def test_an_embedding_of_earlier_networks_does_not_answer(session):
    shutil.rmtree(session.folder / "embeddings" / "round-0001", ignore_errors=True)
    session.answering.pool_embedding.forget()
    model = session.predictions()
    np.testing.assert_array_equal(answers_for(session).class_N, model.class_N)
