"""DRF's parser for request bodies: the strict decoder, and nothing but JSON."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.parsers import BaseParser

from trading.errors import BodyTooLarge
from trading.strict_json import MAX_BODY_BYTES, decode


class StrictJSONParser(BaseParser):
    """Reads application/json by `trading.strict_json`; never more than one byte over the limit."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        # A declared length over the limit is refused before a byte is read.
        declared = getattr(stream, "META", {}).get("CONTENT_LENGTH") or "0"
        if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"The body is over {MAX_BODY_BYTES} bytes.")
        return decode(stream.read(MAX_BODY_BYTES + 1))
