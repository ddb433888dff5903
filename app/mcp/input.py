"""What a server wants to know before it goes on with a call (`input_required`): its questions, within limits.

Pure. What no person could fill in is refused: servers are programs of others.
"""

import json
import time

import mcp_types as types

from app.errors import UsageError
from app.mcp.answer import AskedBack, InputNeeded
from app.mcp.config import McpServer
from app.mcp.offer import problem_of
from app.text import clean, clean_data, shorten
from app.tools.asking import check_form

MAX_QUESTIONS = 10  # of one round
MAX_QUESTION_CHARS = 2000
MAX_NAME_CHARS = 200
MAX_STATE_CHARS = 200_000  # that the server wants back: it is journaled


def input_needed(server: McpServer, result: types.InputRequiredResult) -> InputNeeded:
    """Return what a server asks. Errors: UsageError with the reason why nobody can be asked that."""
    requests = result.input_requests or {}
    if any(len(name) > MAX_NAME_CHARS for name in requests):
        raise UsageError(f"the name of its question has more than {MAX_NAME_CHARS} characters")
    if len(requests) > MAX_QUESTIONS:
        raise UsageError(f"it asks {len(requests)} questions at once, {MAX_QUESTIONS} are allowed")
    if result.request_state is not None and len(result.request_state) > MAX_STATE_CHARS:
        raise UsageError(f"its state has {len(result.request_state)} characters, {MAX_STATE_CHARS} are allowed")
    questions = tuple(_question(server, name, request) for name, request in requests.items())
    return InputNeeded(questions=questions, state=result.request_state, asked_at=time.time())


def _question(server: McpServer, name: str, request: types.InputRequest) -> AskedBack:
    if not isinstance(request, types.ElicitRequest):
        raise UsageError(f"it asks by {request.method!r}, which is not answered here")
    params = request.params
    if not isinstance(params, types.ElicitRequestFormParams):
        raise UsageError("it wants the user to open a page, which is not done here")
    form = clean_data(params.requested_schema)
    if (problem := problem_of(form)) is not None:
        raise UsageError(f"the form of its question {problem}")
    check_form(form)
    if server.secrets:
        form = json.loads(server.without_secrets(json.dumps(form)))
    message = server.without_secrets(shorten(clean(params.message), MAX_QUESTION_CHARS))
    return AskedBack(name=name, message=message, form=form)
