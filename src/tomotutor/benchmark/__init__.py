"""An oracle in place of the person, and measurements of speed."""
