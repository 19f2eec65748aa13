"""One item: its slices, what teacher and student say of it, and the keys and buttons that answer; its page wires."""
