"""One item: slices, what teacher and student say, keys and buttons that answer. Many items go to particles."""
