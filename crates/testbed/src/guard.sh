# Runs a program and ends it, whatever its state, when standard input closes: so the program never outlives
# the process at the other end of that pipe, however that process ended.
#
#   sh -c "$(cat guard.sh)" guard LOG PROGRAM ARGUMENT...
#
# standard input   names of signals to send to the program, one a line
# standard output  each name again, once the signal was sent
# standard error   held open by the guard and the program as long as one of them lives; nothing is written there
log=$1
shift
exec 3<&0 4>&2 </dev/null 2>>"$log"

"$@" >&2 3<&- &
program=$!

{
    # The reader of our answers may be gone already, and that must not end the guard.
    trap '' PIPE
    while read -r signal; do
        kill -s "$signal" "$program"
        echo "$signal"
    done
    kill -s KILL "$program"
} <&3 &
watcher=$!

# Only the watcher answers, and only it reads.
exec >&- 3<&-
wait "$program"
code=$?
kill "$watcher"
exit "$code"
