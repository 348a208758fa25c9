"""Paths of the catalogue API (`api_urlpatterns`, under /api/v1) and of the market pages (`urlpatterns`)."""

from django.urls import path

from markets import api, resolution_api, views

api_urlpatterns = [
    path("markets", api.MarketsView.as_view(), name="api-markets"),
    path("markets/<str:market>", api.MarketView.as_view(), name="api-market"),
    path("markets/<str:market>/suspend", api.SuspendView.as_view(), name="api-market-suspend"),
    path("markets/<str:market>/resume", api.ResumeView.as_view(), name="api-market-resume"),
    path("markets/<str:market>/resolve", api.ResolveView.as_view(), name="api-market-resolve"),
    path("markets/<str:market>/void", api.VoidView.as_view(), name="api-market-void"),
    path(
        "markets/<str:market>/resolutions", resolution_api.ResolutionsView.as_view(), name="api-resolutions"
    ),
    *(
        path(
            f"markets/<str:market>/resolutions/<str:resolution_id>{rest}",
            view.as_view(),
            name=f"api-resolution{name}",
        )
        for rest, name, view in (
            ("", "", resolution_api.ResolutionView),
            ("/preview", "-preview", resolution_api.PreviewView),
            ("/approve", "-approve", resolution_api.ApproveView),
            ("/dispute", "-dispute", resolution_api.DisputeView),
            ("/withdraw", "-withdraw", resolution_api.WithdrawView),
            ("/reverse", "-reverse", resolution_api.ReverseView),
        )
    ),
    path("settlements/<str:settlement_id>", api.SettlementView.as_view(), name="api-settlement"),
]

urlpatterns = [
    path("", views.market_list, name="markets"),
    path("markets/<str:market>", views.market_page, name="market"),
    path("markets/<str:market>/mine", views.mine, name="market-mine"),
    path("portfolio", views.portfolio, name="portfolio"),
]
