import pytest
from model_values import NOTE, a_generation, a_model, tokens
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QLabel, QMenu, QPlainTextEdit, QPushButton, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from core.errors import Problem
from core.jobs.protocol import Token
from core.measure.results import Sampling
from core.models.local_model import Remark, Weights
from ui.forms.sampling_form import SamplingForm
from ui.pages.compare import ComparePage
from ui.widgets.answer_text import AnswerText
from ui.widgets.figures import FigureRow

MODELS = (
    a_model("int4", made_from="big", precision="INT4"),
    a_model("small"),
    a_model("big"),
    a_model("fp8", made_from="big", precision="FP8"),
)


@pytest.fixture
def page(qtbot: QtBot) -> ComparePage:
    made = ComparePage()
    qtbot.addWidget(made)
    made.resize(1096, 756)
    made.show()
    made.show_models(MODELS)
    return made


def text_of(page: QWidget, name: str) -> str:
    label = page.findChild(QLabel, name)
    assert label is not None
    return label.text()


def button(page: QWidget, name: str) -> QPushButton:
    found = page.findChild(QPushButton, name)
    assert found is not None
    return found


def answer(page: QWidget, column: int) -> AnswerText:
    return page.findChildren(AnswerText)[column]


def stream(page: ComparePage, column: int, *texts: str) -> None:
    for index, token in enumerate(tokens(*texts)):
        page.add_token(column, Token(index=index, id=token.id, text=token.text, probability=0.5))


def test_that_the_original_with_artifacts_and_its_artifacts_are_offered_first(page: ComparePage) -> None:
    assert page.paths() == ("/models/big", "/models/int4")


def test_that_models_which_cannot_be_loaded_are_not_offered(page: ComparePage) -> None:
    blocked = a_model("pickled", remarks=(Remark(code="pickle", level="blocks", message="x"),))
    page.show_models((*MODELS, blocked, a_model("file", weights=Weights.GGUF)))
    combo = page.findChild(QComboBox, "compare.original")
    assert combo is not None
    assert {combo.itemText(index) for index in range(combo.count())} == {"big", "small"}


def test_that_one_model_alone_says_what_to_do(page: ComparePage) -> None:
    page.show_models((a_model("big"),))
    empty = page.findChild(QWidget, "compare.empty")
    assert empty is not None
    assert empty.isVisible()
    assert not button(page, "compare.run").isEnabled()


def test_that_run_tells_prompt_settings_and_models(page: ComparePage, qtbot: QtBot) -> None:
    page.choose(("/models/big", "/models/fp8", "/models/int4"))
    page.set_prompt("  Why is the sky blue?  ")
    page.set_sampling(Sampling(max_tokens=32, seed=5))
    with qtbot.waitSignal(page.run_requested) as told:
        button(page, "compare.run").click()
    assert told.args == [
        "Why is the sky blue?",
        Sampling(max_tokens=32, seed=5),
        ("/models/big", "/models/fp8", "/models/int4"),
    ]


def test_that_control_enter_in_the_prompt_runs(page: ComparePage, qtbot: QtBot) -> None:
    prompt = page.findChild(QPlainTextEdit, "compare.prompt")
    assert prompt is not None
    page.activateWindow()
    prompt.setFocus()
    with qtbot.waitSignal(page.run_requested):
        qtbot.keyClick(prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def test_that_the_same_model_twice_cannot_run(page: ComparePage) -> None:
    page.choose(("/models/big", "/models/int4", "/models/int4"))
    assert not button(page, "compare.run").isEnabled()


def test_that_an_empty_prompt_cannot_run(page: ComparePage) -> None:
    page.set_prompt("   ")
    assert not button(page, "compare.run").isEnabled()


def test_that_models_are_added_up_to_four_and_removed_again(page: ComparePage) -> None:
    button(page, "compare.add_model").click()
    assert page.paths() == ("/models/big", "/models/int4", "/models/fp8")
    button(page, "compare.add_model").click()
    assert len(page.paths()) == 4
    assert not button(page, "compare.add_model").isEnabled()
    button(page, "compare.column1.remove").click()
    assert page.paths() == ("/models/big", "/models/fp8", "/models/small")


def test_that_tokens_stream_as_plain_text_and_stay_the_same_so_far(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    stream(page, 0, "A", " <b>fox</b>", " bounces")
    page.show_generation(0, a_generation("/models/big", "A", " <b>fox</b>", " bounces"))
    stream(page, 1, "A", " <b>fox</b>")
    assert answer(page, 1).text() == "A <b>fox</b>"
    assert text_of(page, "compare.column1.tag") == "same so far"
    assert text_of(page, "compare.column0.tag") == "reference"


def test_that_the_first_different_token_is_marked_while_it_streams(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    page.show_generation(0, a_generation("/models/big", "A", " fox", " bounces", " off"))
    stream(page, 1, "A", " fox", " hares", " off")
    assert text_of(page, "compare.column1.tag") == "parts at token 3"
    assert answer(page, 1).marked() == "hares"
    assert text_of(page, "compare.column1.difference") == (
        "At token 3 the original gave “bounces” 0.50 and “hares” 0.41; here “hares” has 0.50."
    )


def test_that_a_character_outside_the_first_plane_does_not_shift_the_mark(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    page.show_generation(0, a_generation("/models/big", "🙂🙂", "\r\n", " fox"))
    page.show_generation(1, a_generation("/models/int4", "🙂🙂", "\r\n", " hares"))
    page.show_difference(1, 2)
    assert answer(page, 1).marked() == "hares"


def test_that_equal_answers_are_called_the_same(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    page.show_generation(0, a_generation("/models/big", "A", " fox"))
    page.show_generation(1, a_generation("/models/int4", "A", " fox"))
    page.show_difference(1, None)
    assert text_of(page, "compare.column1.tag") == "same answer"
    assert answer(page, 1).marked() == ""


def test_that_figures_carry_their_conditions_and_the_note_once(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    page.show_generation(0, a_generation("/models/big", "A", tokens_per_second=41.8))
    page.show_generation(1, a_generation("/models/int4", "A", tokens_per_second=52.0))
    figures = page.findChild(FigureRow, "compare.column1.figures")
    assert figures is not None
    assert figures.figures() == (("52.0", "tokens/s"), ("0.11 s", "to first token"), ("1.0 GiB", "memory"))
    assert text_of(page, "compare.column1.conditions") == "transformers 5.17 · batch 1 · cpu, 2 threads · bfloat16"
    assert text_of(page, "compare.notes") == NOTE


def test_that_stop_is_offered_while_it_runs_and_run_comes_back(page: ComparePage, qtbot: QtBot) -> None:
    page.begin(("big", "int4"))
    page.show_busy("Loading int4 …")
    assert text_of(page, "compare.busy") == "Loading int4 …"
    assert not button(page, "compare.run").isVisible()
    with qtbot.waitSignal(page.stop_requested):
        button(page, "compare.stop").click()
    page.finish()
    assert button(page, "compare.run").isVisible()
    assert text_of(page, "compare.busy") == ""
    assert text_of(page, "compare.column1.tag") == "not run"


def test_that_a_model_which_fails_says_why_in_its_column(page: ComparePage) -> None:
    page.begin(("big", "int4"))
    page.show_problem(1, Problem(code="x", message="The model did not load.", hint="Look at the log."))
    page.finish()
    assert text_of(page, "compare.column1.problem.message") == "The model did not load."
    assert text_of(page, "compare.column1.tag") == "failed"


def test_that_a_prompt_is_taken_from_a_set(page: ComparePage) -> None:
    page.show_prompt_sets([("Support", ["How do I reset it?", "Second & last"])])
    menu = button(page, "compare.prompt_sets").menu()
    inner = menu.findChildren(QMenu)[0]
    actions: list[QAction] = inner.actions()
    assert actions[1].text() == "Second && last"
    actions[1].trigger()
    prompt = page.findChild(QPlainTextEdit, "compare.prompt")
    assert prompt is not None
    assert prompt.toPlainText() == "Second & last"


def test_that_the_settings_form_gives_back_what_it_was_given(qtbot: QtBot) -> None:
    form = SamplingForm()
    qtbot.addWidget(form)
    given = Sampling(max_tokens=64, temperature=0.7, top_p=0.9, top_k=40, seed=9, chat=True, system="Be brief.")
    form.set_value(given)
    assert form.value() == given


def test_that_an_edit_of_the_settings_is_told_and_a_filling_is_not(qtbot: QtBot) -> None:
    form = SamplingForm()
    qtbot.addWidget(form)
    with qtbot.assertNotEmitted(form.changed):
        form.set_value(Sampling(max_tokens=64))
    field = form.findChild(QSpinBox, "compare.sampling.seed")
    assert field is not None
    with qtbot.waitSignal(form.changed):
        field.setValue(7)
    assert form.value().seed == 7
