"""Shell programs that run in a sandbox: for any `sh`, with `/proc`.

Daytona ends a command by ending its shell's process group, which a process leaves by `setsid`. So we look for what is
left ourselves: by a variable in the environment, by descent, and, where a run ends, by what was not there before it.
"""

import shlex
from collections.abc import Mapping

PREFIX = "agent-runner-"
MARK = "AGENT_RUNNER_COMMAND"

_BOOT = """
read -r boot < /proc/1/stat; set -- ${boot##*) }; boot=${20}
"""
_END = """
end() {  # kills what is in no list; a list is " 1 7 12 "
    tries=0
    while [ $tries -lt 20 ]; do
        tries=$((tries + 1)); found=
        for p in /proc/[0-9]*; do
            p=${p#/proc/}
            case "$1 1 $$ $PPID " in *" $p "*) continue;; esac
            kill -9 "$p" 2> /dev/null && found=1
        done
        [ -n "$found" ] || break
    done
}
here() { list=" "; for p in /proc/[0-9]*; do list="$list${p#/proc/} "; done; }
"""

OPEN = f"""{_BOOT}{_END}
for old in /dev/shm/{PREFIX}* /tmp/{PREFIX}*; do
    [ -f "$old/before" ] || continue
    {{ read -r then; read -r list; }} < "$old/before"
    [ "$then" != "$boot" ] || end " $list "
    rm -rf "$old"
done
work=$(pwd)/workspace; [ "$(pwd)" != / ] || work=/workspace
mkdir -p "$work" || exit 1
for place in /dev/shm /tmp; do (umask 077; mkdir "$place/$NAME") 2> /dev/null && break; done
here; printf '%s\\n%s\\n' "$boot" "$list" > "$place/$NAME/before" || exit 1
printf '%s\\n' "$place/$NAME" "$work" "$PATH"
"""
"""Ends what an earlier run has left (its worker was killed), and notes what is there now. Prints three lines: our own
directory, the session's one, PATH."""

CLOSE = f"""{_BOOT}{_END}
[ -f "$DIRECTORY/before" ] || exit 0
{{ read -r then; read -r list; }} < "$DIRECTORY/before"
[ "$then" != "$boot" ] || end " $list "
rm -rf "$DIRECTORY"
"""

STOP = f"""
[ -f "$DIRECTORY/$ID" ] && read -r list < "$DIRECTORY/$ID" || ALONE=
list=" $list "; tries=0
while [ $tries -lt 20 ]; do
    tries=$((tries + 1)); found=; of=" "
    for p in /proc/[0-9]*; do
        n=${{p#/proc/}}
        [ "$n" != $$ ] && [ "$n" != "$PPID" ] && [ "$n" != 1 ] || continue
        read -r stat < "$p/stat" || continue
        set -- ${{stat##*) }}
        [ "$1" != Z ] || continue
        ours=
        if grep -aqs "{MARK}=$ID" "$p/environ"; then ours=1
        elif case "$of" in *" $2 "*) true;; *) false;; esac; then ours=1
        elif [ -n "$ALONE" ] && case "$list" in *" $n "*) false;; *) true;; esac; then
            grep -aqs "{MARK}=" "$p/environ" || ours=1
        fi 2> /dev/null
        [ -z "$ours" ] || {{ of="$of$n "; kill -9 "$n" 2> /dev/null && found=1; }}
    done 2> /dev/null
    [ -n "$found" ] || break
done
rm -f "$DIRECTORY/$ID"
"""
"""Ends one command: its own processes, and, if no other command of the run is at work (ALONE), those that hide and were
not there when it began."""


def called(script: str, **variables: str) -> str:
    """A command line for any shell that runs this script in `sh`."""
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    return f"{given} sh -c {shlex.quote(script)}".strip()


def runner(directory: str, work_dir: str, environment: Mapping[str, str]) -> str:
    """The program that runs a command: `sh FILE ID COMMAND`.

    It prints a line with ID, then what the command prints, then a line with ID and the exit code. The command sees
    these variables and no others, and is in a session of its own.
    """
    given = " ".join(shlex.quote(f"{name}={value}") for name, value in environment.items())
    return f"""
printf '%s\\n' "$1"
{_END}
here; printf '%s\\n' "$list" > {shlex.quote(directory)}/"$1"
apart=; command -v setsid > /dev/null 2>&1 && apart=setsid
umask 022
cd {shlex.quote(work_dir)} && env -i {given} {MARK}="$1" $apart /bin/sh -c "$2" < /dev/null 2>&1
printf '\\n%s %s\\n' "$1" "$?"
rm -f {shlex.quote(directory)}/"$1"
"""
