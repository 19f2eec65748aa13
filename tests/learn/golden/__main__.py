"""Makes losses.json and queues.json anew: python tests/learn/golden (from the top of the checkout)."""

import json
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path[:0] = [str(here.parent), str(here.parent.parent)]
from test_queues import STRATEGIES, queue_orders  # noqa: E402
from test_train import golden_losses  # noqa: E402

names = ["mean_sq strong one_cycle", "l2 none step"]
(here / "losses.json").write_text(json.dumps({name: golden_losses(name) for name in names}, indent=1) + "\n")
orders = {strategy: queue_orders(strategy) for strategy in STRATEGIES}
lines = ",\n".join(f' "{name}": {json.dumps(found)}' for name, found in orders.items())
(here / "queues.json").write_text(f"{{\n{lines}\n}}\n")
