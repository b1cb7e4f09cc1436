"""The tables of this folder leave out no method and no rule of the contract."""

from collections import Counter

import pytest

from tests.contract.methods.cases import CASES
from tests.contract.methods.facts import FACTS, METHODS
from tests.contract.methods.rule_words import RULES, UnknownRule, clauses
from tests.contract.methods.violations import breaches

NOT_IN_A_REQUEST = {
    "ai.stigmer.agentic.agentexecution.v1.SessionId": "executions of a session are listed by a request with session_id",
    "ai.stigmer.agentic.environment.v1.EnvironmentId": "environments are fetched by ApiResourceId",
    "ai.stigmer.agentic.session.v1.AgentId": "sessions of an agent are listed by a request with agent_id",
    "ai.stigmer.agentic.skill.v1.Skill": "a skill is pushed as an archive; it is only answered",
    "ai.stigmer.agentic.skill.v1.SkillSpec": "only in a Skill",
    "ai.stigmer.agentic.skill.v1.SkillStatus": "only in a Skill",
    "ai.stigmer.commons.apiresource.ApiResourceByOrgBySlugRequest": "no method takes it",
    "ai.stigmer.commons.apiresource.FindApiResourcesRequest": "no method takes it",
}
"""Messages with rules that cannot be broken on the wire, because no request holds one."""


def test_every_method_has_a_case() -> None:
    """The table has the contract's 44 methods and no other."""
    assert len(METHODS) == sum(len(methods) for methods in FACTS["services"].values()) == 44
    assert CASES.keys() == METHODS.keys()


def test_every_rule_is_broken_by_a_test() -> None:
    """Each of the contract's rules has a breach, or its message is known to be in no request."""
    broken = {breach.rule for breach in breaches()}
    out_of_reach = {rule for rule in RULES if rule.rpartition(".")[0] in NOT_IN_A_REQUEST}
    assert broken | out_of_reach == RULES.keys()
    assert not broken & out_of_reach
    assert {rule.rpartition(".")[0] for rule in out_of_reach} == NOT_IN_A_REQUEST.keys()


def test_every_part_of_a_rule_is_broken() -> None:
    """A field with two rules has a breach for each, wherever a request holds it; each has values that it refuses."""
    found = list(breaches())
    assert all(breach.clause.bad for breach in found)
    assert max(Counter(breach.id for breach in found).values()) == 1
    of_metadata = {b.clause.label for b in found if b.id.startswith("AgentCommandController.create-metadata-")}
    assert of_metadata == {"required", "agent.owner_scope.platform_or_org_only"}


def test_a_rule_that_is_not_understood_is_an_error() -> None:
    """Words that the tests cannot read are never passed over."""
    field = {"name": "x", "type": "string"}
    for words in ("must be a valid URL", 'must equal "a"; at most 3', 'CEL [a]: this.b > 1 - else message: "no"'):
        with pytest.raises(UnknownRule):
            list(clauses(field, words))
