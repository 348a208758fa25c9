"""Ends process groups whose supervisor was killed, and so could not.

The kernel then asks each group's leader to end; but nobody is left to end a leader that does not, or children that it
leaves behind. The guard is a shell that waits for the end of a pipe which only the supervisor holds.
"""

import subprocess
from collections.abc import Iterable

# A group that was gone once is never looked at again: its number may be another's by then.
_SCRIPT = """
while read -r line; do groups=$line; done
seconds=$1
while [ "$seconds" -gt 0 ]; do
    left=
    for group in $groups; do kill -s 0 -- "-$group" 2> /dev/null && left="$left $group"; done
    groups=$left
    [ -z "$groups" ] && exit
    sleep 1
    seconds=$((seconds - 1))
done
for group in $groups; do kill -s KILL -- "-$group" 2> /dev/null; done
"""


class GroupGuard:
    """A shell beside us that ends the groups last told to it, `grace_s` after we have died."""

    def __init__(self, grace_s: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "pmarket-guard", str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, groups: Iterable[int]) -> None:
        """Tell it of all process groups there are now; nothing happens if the guard itself is dead."""
        assert self._shell.stdin is not None
        try:
            self._shell.stdin.write((" ".join(map(str, groups)) + "\n").encode())
            self._shell.stdin.flush()
        except BrokenPipeError:
            return

    def dismiss(self) -> None:
        """End it; the groups are left to us."""
        self._shell.kill()
        self._shell.communicate()
