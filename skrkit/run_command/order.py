"""An order to a confidential VM, and the shell script that carries it: one line of JSON, and how to obey it.

The script follows from the order alone, letter for letter, so that who receives one can tell it from any other
script: `order_in` gives the order back, and only if the whole script is the one that belongs to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from skrkit.errors import UsageError
from skrkit.wire import Json

Do: TypeAlias = Literal["piece", "install", "release", "answer"]
"""Take a piece of the package, install it, take step 4, read on in its answer."""

MARK = "# skrkit run command "
HOME = "/var/lib/skrkit"  # in the VM: what was carried there, what was installed, the last answer; for root alone
# The documents of run command name no limit for a script. 256 KB is that of its sibling, the custom script extension.
MAX_SCRIPT_BYTES = 192 * 1024
ABSENT = "skrkit-absent"  # what the script says where the VM has no skrkit, or another one
OLDEST_PYTHON = (3, 11)

_BUILD = re.compile(r"[0-9A-Za-z.+-]{1,64}\Z")
_MODULE = "skrkit.remote.inside"
_HEADER = "#!/bin/sh\n"

_RUN = """\
set -eu
umask 077
python="{home}/{build}/bin/python"
if [ ! -x "$python" ]; then
  echo {absent}
  exit 0
fi
exec "$python" -I -m {module} {home} '{order}'
"""
_PIECE = """\
set -eu
umask 077
mkdir -p {home}
cd {home}
base64 -d > piece-{number} << 'END'
{text}
END
echo "{sha256}  piece-{number}" | sha256sum --check --quiet
echo skrkit-piece {number}
"""
_INSTALL = """\
set -eu
umask 077
cd {home}
i=0
: > package
while [ "$i" -lt {pieces} ]; do
  cat "piece-$i" >> package
  i=$((i + 1))
done
xz --decompress --stdout package > {wheel}
rm -f package
echo "{sha256}  {wheel}" | sha256sum --check --quiet
find_python() {{
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    found=$(command -v "$name") || continue
    if "$found" -c 'import sys, ensurepip; sys.exit(sys.version_info < {oldest})' 2> /dev/null; then
      return 0
    fi
  done
  return 1
}}
if ! find_python && command -v apt-get > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q > apt.log 2>&1 || true
  apt-get install -y -q python3-venv >> apt.log 2>&1 || true
  find_python || apt-get install -y -q python3.11-venv >> apt.log 2>&1 || true
fi
if ! find_python; then
  echo skrkit-no-python
  exit 0
fi
rm -rf {build}
"$found" -m venv {build}.new
{build}.new/bin/python -m pip install --quiet --disable-pip-version-check --no-input ./{wheel} > pip.log 2>&1 || {{
  tail -n 5 pip.log >&2
  rm -rf {build}.new
  echo skrkit-not-installed
  exit 0
}}
mv {build}.new {build}
rm -f piece-* {wheel}
echo skrkit-installed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a VM is to do, with the members that doing it needs; `build` names one skrkit, to the byte.

    piece: `number`, `sha256`, `text` (base64). install: `pieces`, `sha256`, `wheel`. release: the walk's names, see
    `skrkit.remote`. answer: `slice`, `sha256`.
    """

    do: Do
    build: str
    members: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the order as JSON members."""
        return {"do": self.do, "build": self.build, **self.members}


def script_of(order: Order) -> str:
    """Return the shell script that carries an order. Raises `UsageError` for one that is too long to be sent."""
    members = order.to_json()
    text = members.pop("text", "")
    said = _line(members)
    words = {"home": HOME, "build": order.build, "absent": ABSENT, "module": _MODULE, "order": said, "text": text}
    words["oldest"] = str(OLDEST_PYTHON)
    template = {"piece": _PIECE, "install": _INSTALL}.get(order.do, _RUN)
    script = _HEADER + MARK + said + "\n" + template.format(**{**order.members, **words})
    if len(script) > MAX_SCRIPT_BYTES:
        raise UsageError(
            what="run command",
            where=f"the script for {order.do}",
            expected=f"at most {MAX_SCRIPT_BYTES} bytes",
            found=f"{len(script)} bytes",
            fix="Shorten the names that the walk is given.",
        )
    return script


def _line(members: Mapping[str, Json]) -> str:
    """Return JSON that is one line of ASCII and may stand between single quotes in a shell."""
    return json.dumps(members, separators=(",", ":"), sort_keys=True).replace("'", "\\u0027")


def order_in(script: str) -> Order | None:
    """Return the order that a script carries, or None for any script that skrkit does not write."""
    if len(script) > MAX_SCRIPT_BYTES or not script.startswith(_HEADER + MARK):
        return None
    try:
        members = json.loads(script[len(_HEADER + MARK) :].partition("\n")[0])
        do, build = members.pop("do"), members.pop("build")
        if do == "piece":
            members["text"] = script.partition("<< 'END'\n")[2].partition("\nEND\n")[0]
        if do not in ("piece", "install", "release", "answer") or not _BUILD.match(build):
            return None
        order = Order(do=do, build=build, members=members)
        return order if script_of(order) == script else None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, UsageError):
        return None


def lines_of(script: str) -> list[str]:
    """Return a script as the lines that the body of a run command has."""
    return script.split("\n")


def joined(lines: Sequence[str]) -> str:
    """Return the script that such lines make."""
    return "\n".join(lines)
