"""Is all well with this machine and what it is to run? Each check says what it looked at, what it found, and the mend."""
