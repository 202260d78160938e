"""A child that may be killed: for tests that end a process at every change of the disk."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable


def killed_in_a_child(work: Callable[[], object]) -> bool:
    """Do the work in a forked process; whether it was killed. An error of the work is printed, and raised here."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise RuntimeError("the child failed by itself")
    return False
