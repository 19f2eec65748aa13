"""The answer of a session as files and pictures. Nothing is computed by networks here."""
