"""What kind of answer a question expects, and which answer belongs to which question."""

from typing import Any

import pytest

from agent_runner.status.questions import AnswerError, answers_for, expected_text, expects_of, usable

PAY: dict[str, Any] = {
    "action_requests": [{"name": "pay", "args": {"to": "Ann"}}, {"name": "mail", "args": {}}],
    "review_configs": [
        {"action_name": "pay", "allowed_decisions": ["approve", "reject"]},
        {"action_name": "mail", "allowed_decisions": ["approve", "edit", "reject", "respond"]},
    ],
}
ONE = {"action_requests": PAY["action_requests"][:1], "review_configs": PAY["review_configs"]}
MAIL = {"action_requests": PAY["action_requests"][1:], "review_configs": PAY["review_configs"]}
INBOX = [{"action_request": {"action": "pay", "args": {}}, "config": {"allow_accept": True, "allow_respond": True}}]


def question(value: Any, id_: str = "q", text: str = "Sure?", schema: Any = None) -> dict[str, Any]:
    return {"id": id_, "value": value, "text": text, "expects": expects_of(value, schema)}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("Sure?", "any"),
        ({"question": "Which?", "options": ["a", "b"]}, "choice"),
        ({"question": "Which?", "choices": [1, 2]}, "choice"),
        ({"options": []}, "any"),
        (PAY, "decisions"),
        (INBOX, "responses"),
        (INBOX[0], "responses"),
        ({"action_requests": "none"}, "any"),
    ],
)
def test_a_question_says_what_it_expects(value: Any, kind: str) -> None:
    """Where the value says so; anything else may be answered by anything."""
    assert expects_of(value)["kind"] == kind


def test_allowed_decisions_are_those_of_each_action() -> None:
    """Several actions of one request each have their own decisions, and the text tells them."""
    asked = question(PAY)
    assert [a["allowed"] for a in asked["expects"]["actions"]] == [
        ["approve", "reject"],
        ["approve", "edit", "reject", "respond"],
    ]
    assert "pay: approve or reject" in expected_text(asked)
    assert "decisions" in expected_text(asked)


@pytest.mark.parametrize(
    ("value", "said", "means"),
    [
        (ONE, "approve", {"decisions": [{"type": "approve"}]}),
        (ONE, "Yes!", {"decisions": [{"type": "approve"}]}),
        (ONE, "reject: not Bob", {"decisions": [{"type": "reject", "message": "not Bob"}]}),
        (ONE, {"type": "reject"}, {"decisions": [{"type": "reject"}]}),
        (ONE, [{"type": "approve"}], {"decisions": [{"type": "approve"}]}),
        (PAY, "approve all", {"decisions": [{"type": "approve"}, {"type": "approve"}]}),
        (PAY, "Approve All.", {"decisions": [{"type": "approve"}, {"type": "approve"}]}),
        (ONE, '{"decisions": [{"type": "approve"}]}', {"decisions": [{"type": "approve"}]}),
        (ONE, '{"type": "reject"}', {"decisions": [{"type": "reject"}]}),
        (MAIL, "respond: it was sent", {"decisions": [{"type": "respond", "message": "it was sent"}]}),
        (INBOX, "accept", [{"type": "accept", "args": None}]),
        (INBOX, "respond: later", [{"type": "response", "args": "later"}]),
        (INBOX, '[{"type": "accept", "args": null}]', [{"type": "accept", "args": None}]),
        ("Sure?", '{"any": "thing"}', '{"any": "thing"}'),
        (INBOX, [{"type": "response", "args": "later"}], [{"type": "response", "args": "later"}]),
        ("Sure?", {"any": ["thing"]}, {"any": ["thing"]}),
        ({"options": ["a"]}, "b", "b"),
    ],
)
def test_what_can_be_used_is_used(value: Any, said: Any, means: Any) -> None:
    """Plain words for an approval become the decision that they mean; JSON is taken as it is."""
    assert usable(question(value), said) == means


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (PAY, "approve"),  # which of the two?
        (ONE, "perhaps"),
        (ONE, "yes, but only ten"),
        (ONE, {"decisions": []}),
        (ONE, {"decisions": [{"type": "respond", "message": "x"}]}),
        (PAY, {"decisions": [{"type": "approve"}]}),
        (PAY, {"decisions": [{"type": "approve"}, {"type": "edit"}]}),
        (ONE, False),
        (ONE, "respond: it was sent"),
        (MAIL, "respond"),
        (MAIL, "5"),
        (INBOX, "ignore"),
        (INBOX, "hello"),
        (INBOX, {"type": "edit"}),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_expected(value: Any, said: Any) -> None:
    """An approval is never guessed from words that could mean something else."""
    asked = question(value)
    with pytest.raises(AnswerError) as refused:
        usable(asked, said)
    assert expected_text(asked) in str(refused.value)


def test_json_in_words_is_json_where_the_question_asks_for_it() -> None:
    """A chat sends words: where the answer's schema is of no text, words that are JSON are that JSON."""
    for kind, said, means in (
        ("boolean", "true", True),
        ("object", '{"amount": 40}', {"amount": 40}),
        ("integer", "forty", "forty"),
        ("string", "40", "40"),
    ):
        assert usable(question("How much?", schema={"type": kind}), said) == means


def test_answers_find_their_questions() -> None:
    """By id, or by a text that only one question has; some now and some later."""
    asked = [question("a", "1", "A?"), question("b", "2", "B?"), question("c", "3", "A?")]
    assert answers_for(asked, "", by_id={"2": False, "3": None}) == {"2": False, "3": None}
    assert answers_for(asked, "", {"B?": 1}) == {"2": 1}
    assert answers_for(asked[:1], "yes") == {"1": "yes"}
    assert answers_for(asked[:1], "", {"other": 1}) == {"1": {"other": 1}}
    for given in ({"A?": 1}, {"B?": 1, "x": 2}, {"2": 1, "B?": 2}, [1], "x"):
        with pytest.raises(AnswerError, match="3 questions are open"):
            answers_for(asked, "", given)
    with pytest.raises(AnswerError, match="x"):
        answers_for(asked, "", by_id={"x": 1})


def test_one_decision_about_one_call() -> None:
    """The newer request of one call names its decisions in its schema."""
    schema = {"oneOf": [{"properties": {"type": {"const": t}}} for t in ("approve", "reject")]}
    asked = question({"type": "tool_approval", "name": "pay", "args": {}}, schema=schema)
    assert asked["expects"]["allowed"] == ["approve", "reject"]
    assert usable(asked, "no: too much") == {"type": "reject", "message": "too much"}
    with pytest.raises(AnswerError):
        usable(asked, {"decisions": [{"type": "approve"}]})
