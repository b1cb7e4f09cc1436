"""What runs in a container beside the commands. All of it is for any `/bin/sh`; an image needs nothing else."""

KEEPER = "exec 3<&0; (read -r _ <&3) & wait $!"
"""The first process. It ends when its standard input does, which is the worker's connection; the kernel then ends all
other processes of the container. It waits for every orphan meanwhile. It runs as a user of its own: commands can
neither signal it nor trace it."""

COMMAND = """umask 022
[ -z "$3" ] || ulimit -f 0
/bin/sh -c "$1" 2>&1 </dev/null
code=$?
printf '\\n%s %s\\n' "$2" "$code"
"""
"""Runs `$1` and says its exit code after the mark `$2`, behind all that it has printed: what comes later is of
processes in the background. `$3`: not empty for a session over its quota, whose commands write no file."""

SERVICE = """umask 022
[ -z "$1" ] || ulimit -f 0
shift
exec "$@"
"""

KILL = """tries=0
while [ $tries -lt 200 ]; do
  found=
  for file in /proc/[0-9]*/status; do
    state= group=
    while read -r key value rest; do
      case $key in
        State:) state=$value ;;
        Gid:) group=$value; break ;;
      esac
    done 2>/dev/null <"$file"
    if [ "$group" = "$1" ] && [ "$state" != Z ]; then
      pid=${file#/proc/}
      kill -9 "${pid%/status}" 2>/dev/null
      found=yes
    fi
  done
  [ -n "$found" ] || exit 0
  tries=$((tries + 1))
done
exit 1
"""
"""Kills every process of the group `$1`. No process can leave its group, whatever it does: so it finds daemons too."""
