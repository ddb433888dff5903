"""Example background agents, one per file. `main.py` serves them beside the chat."""

from app.agents.chat_reminder import ChatReminder
from app.agents.reminder import Reminder, deliver_reminder
from app.agents.report import Report, Section, write_section
from app.agents.task_processor import TaskProcessor, process_item

AGENTS = (TaskProcessor, Reminder, ChatReminder, Report, Section)
FUNCTIONS = (process_item, deliver_reminder, write_section)
