"""Run the service under uvicorn and end it without failing a request."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any, cast

import uvicorn
from loguru import logger
from uvicorn.supervisors import ChangeReload, Multiprocess, multiprocess

from app.api.settings import ApiSettings
from app.core.discovery import discover
from app.core.folders import APP_ROOT
from app.core.settings import AppSettings, SettingsBundle, load_settings, require_strong
from app.infrastructure.health import Readiness
from app.infrastructure.logger import configure_logging

DEPLOYED_DELAY = 5.0
"""Seconds for load balancers to notice; our Kubernetes manifest polls readiness every 5."""
MODULES_SHARE = 1 / 3
"""Part of the time after the delay that is kept for stopping the modules."""
CLOSE = (b"connection", b"close")


class ServerConfig(uvicorn.Config):
    """Uvicorn's configuration and how this service ends. Sent to worker processes by pickle."""

    def __init__(
        self, app: str, settings: SettingsBundle, *, workers: int, reload: bool, **listen: Any
    ) -> None:
        """Derive it from the settings; `listen` is uvicorn's `host` and `port`."""
        own = settings.get(ApiSettings)
        deployed = settings.get(AppSettings).app_env.is_deployed
        usual_delay = min(DEPLOYED_DELAY, own.shutdown_grace / 3) if deployed else 0.0
        self.delay = usual_delay if own.shutdown_delay is None else own.shutdown_delay
        """Seconds from the signal to the last new connection."""
        self.grace = own.shutdown_grace
        """Seconds from the signal to the end of the process."""
        drain = (self.grace - self.delay) * (1 - MODULES_SHARE)
        super().__init__(
            app,
            factory=True,
            workers=workers,
            reload=reload,
            reload_dirs=[str(APP_ROOT)] if reload else None,
            lifespan="on",
            # The logger module routes, formats, writes the access log and knows trusted proxies.
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(own.keep_alive),
            # A message is held in memory, as a body is; compression would take 10 to 300 KiB more
            # for each connection, and tells who listens how long a secret is (CRIME).
            ws_max_size=own.request_max_size,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=max(1, int(drain)),
            **listen,
        )

    def configure_logging(self) -> None:
        """Write the log our way. Called in each process, before anything is logged there."""
        configure_logging()


class Server(uvicorn.Server):
    """Ends in the order that fails nobody.

    On SIGTERM or SIGINT: not ready, and every answer closes its connection; after `SHUTDOWN_DELAY`
    no new connection, streams are told to end, requests in flight are finished, modules stop. The
    same signal a second time drops what is in flight. (Ctrl-C reaches a worker twice, as SIGINT
    from the terminal and as SIGTERM from its parent: that is one request to end.)
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig) -> None:
        """Hold what is to be run."""
        super().__init__(config)
        self._seen: set[int] = set()
        self._leave_at = float("inf")

    @property
    def exit_code(self) -> int:
        """0 after an orderly end; 1 when a second signal cut it short."""
        return int(self.force_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Begin to end. Runs in a signal handler: it only sets values."""
        if sig in self._seen:
            self.force_exit = self.should_exit = True
            return
        if not self._seen:
            self._begin_to_leave()
        self._seen.add(sig)

    def _begin_to_leave(self) -> None:
        self._leave_at = time.monotonic() + self.config.delay
        net = threading.Timer(self.config.grace, _too_late, [self.config.grace])
        net.daemon = True
        net.start()
        readiness = self._readiness()
        if readiness is None:
            self.should_exit = True  # still starting: there is nobody to serve
            return
        readiness.leave()
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for connection in tuple(self.server_state.connections):
            # An answer that is being made has its headers from before; a WebSocket has no cycle.
            if (cycle := getattr(connection, "cycle", None)) is not None:
                cycle.default_headers = self.server_state.default_headers

    def _readiness(self) -> Readiness | None:
        # Before it is loaded there is no application, or its factory in its place.
        app = getattr(self.config, "loaded_app", None)
        found: Readiness | None = getattr(getattr(app, "state", None), "readiness", None)
        return found if self.started else None

    async def on_tick(self, counter: int) -> bool:
        """Leave when the delay is over."""
        if time.monotonic() >= self._leave_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell streams to end, then finish as uvicorn does."""
        readiness = self._readiness()
        if readiness is not None:
            readiness.stop()
        await super().shutdown(sockets)


class Worker(multiprocess.Process):
    """A worker process with our server in it."""

    @property
    def server(self) -> uvicorn.Server:
        """The server this process runs."""
        if self._server is None:
            self._server = Server(cast("ServerConfig", self.config))
        return self._server


class Supervisor(Multiprocess):
    """Keeps workers running, and passes on a second signal while it waits for their end."""

    def join_all(self) -> None:
        """Wait until every worker has ended."""
        for worker in self.processes:
            while worker.process.is_alive():
                worker.process.join(timeout=0.1)
                if self.signal_queue:
                    self.signal_queue.clear()
                    self.terminate_all()


def serve(
    *, host: str, port: int, workers: int = 1, reload: bool = False, app: str = "app.api:create_app"
) -> None:
    """Serve until a signal ends it. Ends the process when it can't start (code 3).

    Args:
        host: address to listen on.
        port: to listen on; 0 takes a free one.
        workers: processes that share the port; not together with `reload`.
        reload: restart when a source file changes, for development.
        app: where the factory of the application is, as `module:function`.

    Raises:
        ConfigurationError: settings that can't be used, or too weak for a deployed environment.
        SystemExit: a second signal cut the end short (code 1).
    """
    settings = load_settings(discover().modules)
    require_strong(settings)
    config = ServerConfig(app, settings, host=host, port=port, workers=workers, reload=reload)
    if reload:
        ChangeReload(config, target=Server(config).run, sockets=[config.bind_socket()]).run()
        return
    if workers > 1:
        # Uvicorn 0.54 has no parameter for it.
        multiprocess.Process = Worker  # type: ignore[misc]
        Supervisor(config, sockets=[config.bind_socket()]).run()
        return
    server = Server(config)
    server.run()
    sys.exit(server.exit_code)


def _too_late(grace: float) -> None:
    logger.critical("Not ended within SHUTDOWN_GRACE of {:g} s: ending by force", grace)
    os._exit(1)
