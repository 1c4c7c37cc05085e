"""For every test."""

import signal

# A shell that starts us in the background has us ignore Ctrl-C, and our children with us: what is tested with it would not end.
signal.signal(signal.SIGINT, signal.default_int_handler)
