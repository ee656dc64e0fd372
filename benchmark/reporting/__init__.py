"""Ranks, the leaderboard, pages and figures from records. Never imports torch."""
