"""Report: a parent whose children write the sections of a report, side by side."""

import asyncio

from app.background import agent, function


@function.defn()
async def write_section(title: str) -> str:
    """Write one section. Put your LLM here."""
    return f"# {title}\n\nAll there is to say about {title}."


@agent.defn()
class Section:
    """Writes one section."""

    @agent.run
    async def run(self, title: str) -> str:
        text: str = await agent.step(write_section, title)
        return text


@agent.defn()
class Report:
    """Has a child write each section, and puts them together."""

    @agent.run
    async def run(self, titles: list[str]) -> str:
        report_id = agent.agent_info().agent_id
        sections = await asyncio.gather(
            *(
                agent.child_execute(agent=Section, agent_id=f"{report_id}-{n}", agent_input=title)
                for n, title in enumerate(titles)
            )
        )
        return "\n\n".join(sections)
