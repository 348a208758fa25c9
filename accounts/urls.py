"""Paths of the account API (`api_urlpatterns`, under /api/v1) and of the account pages (`urlpatterns`)."""

from django.urls import path

from accounts import api, views

api_urlpatterns = [
    path("register", api.RegisterView.as_view(), name="api-register"),
    path("keys", api.KeysView.as_view(), name="api-keys"),
    path("keys/<str:key_id>", api.KeyView.as_view(), name="api-key"),
    path("account", api.AccountView.as_view(), name="api-account"),
    path("account/deposit", api.DepositView.as_view(), name="api-deposit"),
    path("account/withdraw", api.WithdrawView.as_view(), name="api-withdraw"),
    path("leaderboard", api.LeaderboardView.as_view(), name="api-leaderboard"),
    path("ws-ticket", api.TicketView.as_view(), name="api-ws-ticket"),
    path("notifications", api.NotificationsView.as_view(), name="api-notifications"),
    path("notifications/read", api.NotificationsReadView.as_view(), name="api-notifications-read"),
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
]
