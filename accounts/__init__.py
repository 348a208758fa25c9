"""Who trades: users, keys, sign-in, notifications, the account API and pages. Cash is trading's."""
