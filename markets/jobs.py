"""The markets' jobs by their stored names."""

from markets import audits
from trading.jobs import job

job(audits.MAKE_AUDIT, queue="report", run_limit_s=audits.RUN_LIMIT_S)(audits.make)
