"""Where do the seconds of a round go? round_profile.py > round_profile.json

Milliseconds of one thread's CPU for a mini-batch of 16 boxes of 32³, the least of ten, at quarter width in bfloat16.
"""

import json
import time
from collections.abc import Callable

import torch

from tomotutor.learn.augment import augment
from tomotutor.learn.compute import Compute
from tomotutor.learn.inference import new_pair
from tomotutor.learn.recipe import preset
from tomotutor.learn.start import SHIPPED
from tomotutor.learn.transfer import transfer_loss


def ms(work: Callable[[], object]) -> float:
    """Return the least CPU time of ten runs."""
    found = []
    for _ in range(10):
        clock = time.thread_time()
        work()
        found.append(1000 * (time.thread_time() - clock))
    return round(min(found), 1)


def main() -> None:
    """Print the table as JSON."""
    torch.set_num_threads(1)
    compute = Compute("cpu", "bfloat16", True, 4, 1)
    recipe = preset("app", 3).replace(width=0.25)
    pair = new_pair((1, 32, 32, 32), 10, recipe, SHIPPED)
    raw, y = torch.randn(16, 1, 32, 32, 32), torch.arange(16) % 10
    x, generator = compute.put(raw), torch.Generator().manual_seed(0)
    found = {"augment": ms(lambda: augment(raw.clone(), "strong", generator))}
    for name, net in pair.parts().items():
        compute.prepare(net)

        def forward(net: torch.nn.Module = net) -> torch.Tensor:
            with compute.autocast():
                return net(x)

        def look(forward: Callable = forward) -> None:
            with torch.inference_mode():
                forward()

        net.eval()
        found[f"{name}, scoring"] = ms(look)
        net.train()
        both = ms(lambda forward=forward: torch.nn.functional.cross_entropy(forward().logits, y).backward())
        found[f"{name}, forward and backward"] = both
        optimizer = torch.optim.SGD(net.parameters(), 1e-9, momentum=0.9, weight_decay=5e-4)
        found[f"{name}, step"] = ms(optimizer.step)
        h = x
        for stage, part in {"stem": net.stem, **{f"stage {k}": s for k, s in enumerate(net.stages, 1)}}.items():
            whole = stage != "stem" and h.shape[-1] < 2 * compute.float32_below  # as in `ResNet.forward`
            given = h.detach().float() if whole else h.detach()

            def run(part: torch.nn.Module = part, whole: bool = whole, given: torch.Tensor = given) -> torch.Tensor:
                with torch.autocast("cpu", torch.bfloat16, enabled=not whole):
                    return part(given.requires_grad_(given is not x))

            found[f"{name}, {stage}"] = ms(lambda run=run: run().sum().backward())
            h = run()
    with torch.no_grad(), compute.autocast():
        teacher = pair.teacher(x)

    def teach() -> None:
        with compute.autocast():
            student = pair.student(x)
        transfer_loss("at", recipe.training.at_form)(student, teacher).backward()

    with_all = ms(teach)
    found["transfer"] = round(with_all - found["student, forward and backward"], 1)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
