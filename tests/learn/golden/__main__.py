"""Makes losses.json anew: python tests/learn/golden (from the top of the checkout)."""

import json
import sys
from pathlib import Path

here = Path(__file__).parent
sys.path.insert(0, str(here.parent))
from test_train import golden_losses  # noqa: E402

names = ["mean_sq strong one_cycle", "l2 none step"]
(here / "losses.json").write_text(json.dumps({name: golden_losses(name) for name in names}, indent=1) + "\n")
