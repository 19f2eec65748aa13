"""From a pool and labels to networks, scores and an order of asking. Knows no session and no screen."""
