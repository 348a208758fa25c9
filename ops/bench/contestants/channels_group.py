"""The usual way to push with Django: a Channels consumer in a group, one group_send a frame.

Served by the same uvicorn with the same settings as the live process. The layer is channels_redis on VALKEY_URL.
"""

import os
from typing import Any

from django.conf import settings

GROUP = "market"


def configure() -> None:
    """Nothing of Django but the layer."""
    if not settings.configured:
        # The layer waits in reads of 5 s; a client library's own limit would cut them off.
        hosts = [{"address": os.environ["VALKEY_URL"], "socket_timeout": None}]
        layer = {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": hosts, "capacity": 100_000, "prefix": "rival"},
        }
        settings.configure(CHANNEL_LAYERS={"default": layer})


configure()

from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402


class Watcher(AsyncWebsocketConsumer):
    """Joins the group and passes on what it is sent."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        await self.send(text_data='{"channel":"book","seq":0}')

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def market_frame(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


application = Watcher.as_asgi()
