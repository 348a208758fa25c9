"""Settings, all of them from the environment; the README has the table of variables."""

from datetime import timedelta
from urllib.parse import urlsplit

from django.core.management.utils import get_random_secret_key

from pmarket.settings import environment as env
from pmarket.settings.logs import configure_structlog, logging_config
from pmarket.settings.schedule import beat_schedule
from trading.money import parse_pips
from trading.projections import DEFAULT_PROJECTIONS

BASE_DIR = env.BASE_DIR
DATA_DIR = env.data_dir()
# What `up` leaves in DATA_DIR for other processes to find.
RUNTIME_FILE = DATA_DIR / env.RUNTIME_FILE
SECRET_KEY_FILE = DATA_DIR / env.SECRET_KEY_FILE

# The exchange -------------------------------------------------------------------------------------

PORT = env.number("PORT", 8000)
WS_PORT = env.number("WS_PORT", 8001)
DEMO = env.flag("DEMO", True)
ENGINES = env.number("ENGINES", 1)
THROTTLE = env.flag("THROTTLE", True)
READ_CACHE = env.flag("READ_CACHE", True)
FAUCET_LIMIT_PIPS = parse_pips(env.text("FAUCET_LIMIT", "1000000.0000").replace(",", ""))
RESOLUTION_APPROVALS = env.number("RESOLUTION_APPROVALS", 0)
DISPUTE_WINDOW_S = env.number("DISPUTE_WINDOW", 0)
# How long a closed market may wait for a proposal before more of staff is told.
RESOLUTION_OVERDUE = timedelta(hours=env.number("RESOLUTION_OVERDUE_HOURS", 24))
RESOLUTION_ESCALATION = timedelta(hours=env.number("RESOLUTION_ESCALATION_HOURS", 72))
SETTLEMENT_CHUNK = env.number("SETTLEMENT_CHUNK", 100)
# What can find out by itself how a market has ended.
RESOLVERS = env.words(
    "RESOLVERS", "markets.resolvers.json_url.JsonUrl,markets.resolvers.price_feed.PriceFeed"
)

# The log's proofs. Its signed heads and its archive prove something, or survive something, on another disk or host.
HEADS_DIR = env.folder("HEADS_DIR", "heads")
ARCHIVE_DIR = env.folder("ARCHIVE_DIR", "archive")
AUDIT_DIR = DATA_DIR / "audits"
HEADS_KEY = env.text("HEADS_KEY")
HEADS_KEY_FILE = DATA_DIR / "heads_key"
# Further keys whose published heads are believed: other hosts' and older ones.
HEADS_PUBLIC_KEYS = env.words("HEADS_PUBLIC_KEYS")

# Valkey: one server is enough; each use can be given its own.
VALKEY_URL = env.text("VALKEY_URL", "redis://127.0.0.1:6379/0")
CACHE_URL = env.text("CACHE_URL", VALKEY_URL)
BROKER_URL = env.text("BROKER_URL", VALKEY_URL)
FEED_URL = env.text("FEED_URL", VALKEY_URL)

# Networks that outgoing calls (webhooks) may reach although they are not public.
OUTSIDE_ALLOW = env.networks("OUTSIDE_ALLOW")

# Security -----------------------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", False)
# Without a key the process gets one of its own: enough for a command, and refused by wsgi.py and asgi.py.
SECRET_KEY = env.text("SECRET_KEY") or env.secret_key_file()
SECRET_KEY_IS_LASTING = bool(SECRET_KEY)
SECRET_KEY = SECRET_KEY or get_random_secret_key()

OWN_ORIGINS = [f"http://localhost:{PORT}", f"http://127.0.0.1:{PORT}"]
ALLOWED_ORIGINS = [*OWN_ORIGINS, *map(env.origin, env.words("ALLOWED_ORIGINS"))]
CSRF_TRUSTED_ORIGINS = ALLOWED_ORIGINS
# Where links in e-mails lead: the first origin that was given, else this machine.
SITE_URL = env.origin(env.text("SITE_URL", [*ALLOWED_ORIGINS[len(OWN_ORIGINS) :], OWN_ORIGINS[0]][0]))
# Networks of proxies whose X-Forwarded-For is believed.
TRUSTED_PROXIES = env.words("TRUSTED_PROXIES")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS") or sorted(
    {"localhost", "127.0.0.1", "[::1]", *(urlsplit(each).hostname or "" for each in ALLOWED_ORIGINS)}
)

# HTTPS=1 says that a proxy in front ends TLS and sets X-Forwarded-Proto.
HTTPS = env.flag("HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REDIRECT_EXEMPT = [r"^health", r"^matching/health$", r"^metrics$"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"

# Django -------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_prometheus",
    "django_structlog",
    "trading",
    "accounts",
    "markets",
    "ops",
]
LOG_REQUESTS = env.flag("LOG_REQUESTS", DEBUG)
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "pmarket.middleware.RequestIdMiddleware",
    "ops.throttle.RateLimitMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    *(["django_structlog.middlewares.RequestMiddleware"] if LOG_REQUESTS else []),
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ops.http_metrics.HttpMetricsMiddleware",
]
ROOT_URLCONF = "pmarket.urls"
APPEND_SLASH = False
WSGI_APPLICATION = "pmarket.wsgi.application"
ASGI_APPLICATION = "pmarket.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

# `up` collects the static files once; without that they are served from where they lie.
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]
WHITENOISE_USE_FINDERS = not (STATIC_ROOT / "staticfiles.json").exists()
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if WHITENOISE_USE_FINDERS
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# E-mail -------------------------------------------------------------------------------------------

# smtp://USER:PASSWORD@HOST:PORT (smtps: TLS from the start, smtp+tls: STARTTLS), file:FOLDER, console: or off:
globals().update(env.email(env.text("EMAIL_URL", "console:")))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text("EMAIL_FROM", "pmarket <pmarket@localhost>")

# Notifications ------------------------------------------------------------------------------------

# Holders and those with open orders are told this long before a market closes.
CLOSING_SOON_S = env.number("CLOSING_SOON", 3600)

# Data ---------------------------------------------------------------------------------------------

DATABASES = {"default": env.database(env.text("DATABASE_URL", "postgresql:///pmarket"))}
for _index, _url in enumerate(env.words("REPLICA_URLS")):
    DATABASES[f"replica_{_index}"] = {**env.replica(_url), "TEST": {"MIRROR": "default"}}
REPLICAS = [name for name in DATABASES if name != "default"]
# A replica that is further behind is left out of the reads.
REPLICA_MAX_LAG_S = env.number("REPLICA_MAX_LAG", 2)
DATABASE_ROUTERS = ["trading.replicas.router.ReplicaRouter"]

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "cache",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2},
    }
}
# Valkey may be lost at any time; sessions are not.
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [FEED_URL], "prefix": "layer"},
    }
}

# The read models, in the order of a round: notifications tell of what the others have shown.
PROJECTIONS = [*DEFAULT_PROJECTIONS, "accounts.notifications.projection.NotificationsProjection"]

# API ----------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.ApiKeyAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PARSER_CLASSES": ["trading.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["ops.throttle.TokenBucketThrottle"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "trading.api.errors.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "pmarket",
    "DESCRIPTION": "A prediction-market exchange. Prices and money are strings with four decimals.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    # Fields of the same name with choices of their own need names that say whose they are.
    "ENUM_NAME_OVERRIDES": {
        "LedgerKindEnum": "trading.projections.ledger.KINDS",
        "MarketStatusEnum": "markets.selectors.STATUSES",
        "NotificationKindEnum": "accounts.models.Notification.Kind",
        "OrderStatusEnum": ["open", "filled", "cancelled", "expired", "rejected"],
        "ResolutionKindEnum": ["resolve", "void"],
        "ResolutionStatusEnum": "markets.resolution_reads.STATUSES",
        "SettlementKindEnum": ["resolve", "void", "reverse"],
        "SideEnum": ["buy", "sell"],
        "SettlementStatusEnum": ["pending", "running", "done", "failed"],
    },
}

# Tasks --------------------------------------------------------------------------------------------

CELERY_BROKER_URL = BROKER_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "celery:",
    "visibility_timeout": 3600,
    # Who sends has committed already and somebody waits for it; a hint that is lost is sent again.
    "max_retries": 1,
    "interval_start": 0,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "market"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = beat_schedule()
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")

# Logs and metrics ---------------------------------------------------------------------------------

configure_structlog()
LOGGING = logging_config(
    style=env.text("LOG_FORMAT", "console" if DEBUG else "json"),
    level=env.text("LOG_LEVEL", "info").upper(),
    requests=LOG_REQUESTS,
)
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # RequestIdMiddleware has judged it.
# It would believe any X-Forwarded-For; RequestIdMiddleware binds the address.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
PROMETHEUS_EXPORT_MIGRATIONS = False
