"""From records to what people read: ranks, the leaderboard, figures. Never imports torch."""
