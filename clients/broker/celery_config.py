"""The Celery configuration of publishers and workers: broker, queues, results, acks."""

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from celery import Celery
from kombu import Queue

from agent_runner.clients.broker import rabbitmq_transport, redis_transport, result_store

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

PUBLISH_THREADS = 4
RESULTS_KEPT_S = 86_400.0
BROKER_HEARTBEAT_S = 10.0
"""RabbitMQ only. It hands messages to a worker that stands still, too, and takes them back after three of these: half
of schedule-to-start."""
_REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel")


def celery_config(settings: "Settings") -> dict[str, Any]:
    """Celery's settings, the same for publishers and workers."""
    visibility_timeout_s = 2 * settings.max_run_s
    return {
        "broker_url": celery_url(settings.broker_url),
        "result_backend": celery_url(settings.redis_url),
        "broker_transport_options": _transport_options(settings.broker_url, visibility_timeout_s),
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 5.0,
        # RabbitMQ closes a channel whose messages stay unacknowledged for too long; Celery would end the worker.
        "broker_channel_error_retry": True,
        "broker_heartbeat": BROKER_HEARTBEAT_S,
        "broker_pool_limit": min(settings.concurrency, 20) + PUBLISH_THREADS,
        "broker_pool_acquire_timeout": 10.0,
        "task_queues": [
            queue_named(name, settings.broker_url, visibility_timeout_s)
            for name in (settings.runner_queue, settings.orchestrator_queue)
        ],
        "task_default_queue": settings.runner_queue,
        "task_create_missing_queues": True,
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "task_store_errors_even_if_ignored": True,
        "task_send_sent_event": True,
        "task_publish_retry_policy": {
            "max_retries": 5,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 1.0,
        },
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
        "result_backend_thread_safe": True,
        "result_expires": RESULTS_KEPT_S,
        "redis_socket_timeout": 10.0,
        "redis_socket_connect_timeout": 5.0,
        "redis_socket_keepalive": urlsplit(settings.redis_url).scheme in ("redis", "rediss"),
        "redis_backend_health_check_interval": 25.0,
        "enable_utc": True,
    }


def celery_url(url: str) -> str:
    """The URL as Celery spells it: `unix:///run/redis.sock?db=1` is `redis+socket:///run/redis.sock?virtual_host=1`."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    query = {{"db": "virtual_host"}.get(name, name): value for name, value in parse_qsl(parts.query)}
    host = f"{parts.netloc}" if "@" in parts.netloc else ""
    return f"redis+socket://{host}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def is_redis(url: str) -> bool:
    return urlsplit(url).scheme.partition("+")[0] in _REDIS_SCHEMES


def _transport_options(url: str, visibility_timeout_s: float) -> dict[str, Any]:
    if not is_redis(url):
        return {}
    return {
        "visibility_timeout": visibility_timeout_s,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 30.0,
        "socket_connect_timeout": 5.0,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # One Redis list per queue, with the queue's name.
        "priority_steps": [0],
    }


def queue_named(name: str, url: str, unacked_for_s: float) -> Queue:
    """The queue of this name. On RabbitMQ it sets how long a message may stay unacknowledged; after the server's own
    limit the consumer's channel would be closed."""
    arguments = {} if is_redis(url) else {"x-consumer-timeout": int(unacked_for_s * 1000)}
    return Queue(name, routing_key=name, queue_arguments=arguments)


def new_celery(settings: "Settings", *, main: str = "agent_runner") -> Celery:
    """A Celery application with our configuration and transports, without tasks; not the process's current one."""
    redis_transport.register()
    rabbitmq_transport.register()
    app = Celery(main, set_as_current=False)
    result_store.register(app)
    app.conf.update(celery_config(settings))
    return app
