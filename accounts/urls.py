"""Paths of the account API (`api_urlpatterns`, under /api/v1) and of the account pages (`urlpatterns`)."""

from django.urls import path

from accounts import api, notification_api, notification_views, statement_api, views

api_urlpatterns = [
    path("register", api.RegisterView.as_view(), name="api-register"),
    path("keys", api.KeysView.as_view(), name="api-keys"),
    path("keys/<str:key_id>", api.KeyView.as_view(), name="api-key"),
    path("account", api.AccountView.as_view(), name="api-account"),
    path("account/deposit", api.DepositView.as_view(), name="api-deposit"),
    path("account/withdraw", api.WithdrawView.as_view(), name="api-withdraw"),
    path("account/statement", statement_api.StatementView.as_view(), name="api-statement"),
    path("leaderboard", api.LeaderboardView.as_view(), name="api-leaderboard"),
    path("ws-ticket", api.TicketView.as_view(), name="api-ws-ticket"),
    path("notifications", api.NotificationsView.as_view(), name="api-notifications"),
    path("notifications/read", api.NotificationsReadView.as_view(), name="api-notifications-read"),
    path("notification-preferences", notification_api.PreferencesView.as_view(), name="api-preferences"),
    path("price-alerts", notification_api.PriceAlertsView.as_view(), name="api-price-alerts"),
    path("price-alerts/<str:alert_id>", notification_api.PriceAlertView.as_view(), name="api-price-alert"),
    path("webhooks", notification_api.WebhooksView.as_view(), name="api-webhooks"),
    path("webhooks/<str:webhook_id>", notification_api.WebhookView.as_view(), name="api-webhook"),
    path(
        "webhooks/<str:webhook_id>/secret",
        notification_api.WebhookSecretView.as_view(),
        name="api-webhook-secret",
    ),
    path(
        "webhooks/<str:webhook_id>/test", notification_api.WebhookTestView.as_view(), name="api-webhook-test"
    ),
    path(
        "webhooks/<str:webhook_id>/deliveries",
        notification_api.WebhookDeliveriesView.as_view(),
        name="api-webhook-deliveries",
    ),
]

urlpatterns = [
    path("sign-up", views.sign_up, name="sign-up"),
    path("sign-in", views.sign_in, name="sign-in"),
    path("sign-out", views.sign_out, name="sign-out"),
    path("leaderboard", views.leaderboard_page, name="leaderboard"),
    path("account", views.account, name="account"),
    path("account/deposit", views.deposit, name="account-deposit"),
    path("account/withdraw", views.withdraw, name="account-withdraw"),
    path("account/keys", views.create_key, name="account-keys"),
    path("account/keys/<uuid:key_id>/revoke", views.revoke_key, name="account-key-revoke"),
    path("account/notifications/read", views.read_notifications, name="account-notifications-read"),
    path("account/preferences", notification_views.change_preferences, name="account-preferences"),
    path("account/email", notification_views.change_email, name="account-email"),
    path("account/email/<str:token>", notification_views.confirm_email, name="confirm-email"),
    path("account/unsubscribe/<str:token>", notification_views.unsubscribe_link, name="unsubscribe"),
    path(
        "account/price-alerts/<uuid:alert_id>/delete",
        notification_views.delete_alert,
        name="account-alert-delete",
    ),
    path("account/webhooks", notification_views.create_webhook, name="account-webhooks"),
    path(
        "account/webhooks/<uuid:webhook_id>/<str:action>",
        notification_views.act_on_webhook,
        name="account-webhook",
    ),
]
