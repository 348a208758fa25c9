"""The pure engine's behaviour: no Django, no database, no clock."""
