"""Settings for the size of an execution's data: larger data is refused, cut or dropped, and this is reported."""

from agent_runner.clients.settings.access_settings import AccessSettings
from agent_runner.clients.settings.environment import setting
from agent_runner.status.attachments import DEFAULT_MAX_ATTACHMENT_BYTES
from agent_runner.status.log.bounds import DEFAULT_MAX_ENCODED_BYTES


class BoundSettings(AccessSettings):
    max_message_bytes: int = setting(
        "AGENT_RUNNER_MAX_MESSAGE_BYTES", default=1 << 20, ge=1, about="a larger message is refused"
    )
    max_attachment_bytes: int = setting(
        "AGENT_RUNNER_MAX_ATTACHMENT_BYTES",
        default=DEFAULT_MAX_ATTACHMENT_BYTES,
        ge=0,
        le=40 << 20,
        about="pictures and files of one execution together; more get 413",
    )
    max_schedules: int = setting(
        "AGENT_RUNNER_MAX_SCHEDULES", default=500, ge=0, about="of one org; more are refused with 429"
    )
    max_tool_result_bytes: int = setting(
        "AGENT_RUNNER_MAX_TOOL_RESULT_BYTES", default=1 << 18, ge=1, about="a larger result is cut"
    )
    max_output_bytes: int = setting(
        "AGENT_RUNNER_MAX_OUTPUT_BYTES",
        default=16 << 20,
        ge=1024,
        le=40 << 20,
        about="more of an output or of an answer is cut",
    )
    max_encoded_bytes: int = setting(
        "AGENT_RUNNER_MAX_ENCODED_BYTES",
        default=DEFAULT_MAX_ENCODED_BYTES,
        ge=1,
        about="larger pictures and other base64 data are left out of an output",
    )
    max_custom_events: int = setting(
        "AGENT_RUNNER_MAX_CUSTOM_EVENTS", default=2000, ge=0, about="a run's custom events; more are dropped"
    )
    max_custom_event_bytes: int = setting(
        "AGENT_RUNNER_MAX_CUSTOM_EVENT_BYTES", default=32 << 10, ge=100, about="a larger custom event is cut"
    )
    max_custom_bytes: int = setting(
        "AGENT_RUNNER_MAX_CUSTOM_BYTES", default=4 << 20, ge=100, about="all custom events of a run; more are dropped"
    )
    max_stream_bytes: int = setting(
        "AGENT_RUNNER_MAX_STREAM_BYTES",
        default=64 << 20,
        ge=1024,
        about="the stream of a run that a client of LangGraph's API asks for; more is not kept",
    )
    configurable: str = setting(
        "AGENT_RUNNER_CONFIGURABLE",
        default="",
        about="names that every graph takes in config.configurable, with commas; *: any",
    )
