"""Speed and memory of this machine. Whatever needs a window is measured in gui."""
