"""What every package needs: errors, files, progress. Nothing that knows particles, networks or sessions."""
