"""The program, as `tomotutor` or `python -m tomotutor`."""

import sys
from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]  # module signal takes milliseconds


def main() -> int:
    """Run the command that this process was started with; return its exit status."""
    signal(SIGINT, SIG_DFL)  # nothing to end in order before the command runs and after it: no traceback
    from tomotutor.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
