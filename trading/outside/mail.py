"""The mail server: reached through its breaker, and given each message once.

Connecting comes first, so a server that is down is found out before anything can have been sent; then the message
waits, without that being a try.
"""

import logging
import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.mail import EmailMultiAlternatives, get_connection

from trading.jobs import NotYet
from trading.outside.breaker import Breaker, BreakerOpen

logger = logging.getLogger(__name__)

RETRY_S = 5.0
# A server that refuses for now wants to be left alone for a while: greylisting takes minutes, a full mailbox longer.
REFUSED_RETRY_S = 300.0

MAIL = Breaker("mail")


def hand_over(claim: Callable[[], EmailMultiAlternatives | None], *, release: Callable[[], None]) -> None:
    """Give a message to the mail server. Raises NotYet where that is to be tried again.

    `claim` notes that it is being sent, just before, and answers it; None if it was. `release` takes that back where
    the server says that it has not taken it. What ends in neither way may have been sent, and is not sent again.
    """
    with _connection() as connection:
        message = claim()
        if message is None:
            return
        # From here on it may have been sent.
        message.connection = connection
        try:
            message.send()
        except smtplib.SMTPResponseException as error:
            _refused(error, error.smtp_code, release)
        except smtplib.SMTPRecipientsRefused as error:
            _refused(error, max(code for code, _ in error.recipients.values()), release)
        except OSError as error:
            MAIL.failed()
            logger.warning(
                "whether the mail server took a mail is not known, so it is not sent again: %s", error
            )


@contextmanager
def _connection() -> Iterator[Any]:
    """An open connection to the mail server, or NotYet: that it is down is no failure of the mail's."""
    connection = get_connection()
    try:
        with MAIL.guarding(OSError):
            connection.open()
    except BreakerOpen as error:
        raise NotYet(str(error), retry_in_s=error.retry_in_s) from None
    except OSError as error:
        raise NotYet(f"the mail server does not answer: {error}", retry_in_s=RETRY_S) from None
    try:
        yield connection
    finally:
        connection.close()


def _refused(error: Exception, code: int, release: Callable[[], None]) -> None:
    """The server has said no, so nothing was sent: for now (4xx), or for good, as to an address that is none."""
    if code >= 500:
        logger.warning("the mail server refuses a mail: %s", error)
        return
    release()
    raise NotYet(f"the mail server refuses for now: {error}", retry_in_s=REFUSED_RETRY_S) from None
