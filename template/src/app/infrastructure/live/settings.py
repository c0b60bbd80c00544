"""Settings of live streams, whichever way they take."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Count, ModuleSettings, Seconds


class LiveSettings(ModuleSettings):
    """How many clients, and how much each may cost."""

    live_anonymous: bool = False
    """Whether clients without credentials may follow public channels when deployed. In development
    they may."""
    live_max_clients: Count = Field(default=5000, ge=1)
    """Open streams of this process: each costs a socket and some 30 to 70 KiB."""
    live_clients_per_user: Count = Field(default=10, ge=1)
    """Open streams of one user in this process: tabs and devices. A browser opens 6 over HTTP/1."""
    live_clients_per_address: Count = Field(default=50, ge=1)
    """Open streams of one address without credentials, in this process: an office shares one."""
    live_channels_per_client: Count = Field(default=50, ge=1)
    """Channels one client may follow."""
    live_buffer: Count = Field(default=256, ge=1)
    """Events that may wait for one client; a slower one is cut off."""
    live_replay: Count = Field(default=1000, ge=0)
    """Events after the last one a client has seen that are sent again; beyond, it begins anew."""
    live_send_timeout: Seconds = Field(default=20.0, gt=0)
    """How long a client may take nothing of what is sent to it; then it is cut off."""
    live_heartbeat: Seconds = Field(default=10.0, gt=0, le=15)
    """Silence after which a stream shows that it is alive: shorter than proxies wait."""
