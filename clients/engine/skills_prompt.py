"""The part of an agent's instructions about its skills.

By default it has only name, description and path: the agent reads the file when a task needs it, so a long skill costs
no more tokens than a short one. The whole text of a skill with a `body` is in the instructions.
"""

from collections.abc import Sequence

from agent_runner.clients.engine.agent_definition import SkillSpec

INTRODUCTION = (
    "# Skills\n"
    "A skill holds instructions, and often files, for one kind of task. Read its SKILL.md with `read_file` before you"
    " work on a task that it fits, and not otherwise; paths in it are relative to its folder. In commands leave the"
    " first `/` of these paths away."
)
INJECTED = "Follow these skills where a task fits them; paths in them are relative to their folders."


def skills_prompt(skills: Sequence[SkillSpec]) -> str:
    """Empty if there are no skills."""
    parts = []
    if listed := [skill for skill in skills if not skill.body]:
        lines = [f"- {skill.name}: {skill.description} (`{skill.path}/SKILL.md`)" for skill in listed]
        parts.append("\n".join([INTRODUCTION, *lines]))
    if injected := [skill for skill in skills if skill.body]:
        parts.append("\n\n".join([f"# Skills\n{INJECTED}", *(_whole(skill) for skill in injected)]))
    return "\n\n".join(parts)


def _whole(skill: SkillSpec) -> str:
    where = f" (its folder is `{skill.path}`)" if skill.path else ""
    return f"## Skill {skill.name}{where}\n{skill.body}"
