#!/bin/sh
# forecast.sh PROJECT [MINUTES]: brings a project up to date, for cron. It is silent where all is well,
# so cron has nothing to mail; else it says what went wrong and ends with krammerti's exit code.
set -eu
project=${1:?usage: forecast.sh PROJECT [MINUTES]}
minutes=${2:-50} # less than the time to the next start

# cron's standard input may be closed; --no-wait, because the next start is soon enough.
code=0
said=$(timeout --kill-after=60 "${minutes}m" \
  krammerti -C "$project" --quiet --no-wait run </dev/null 2>&1) || code=$?

case $code in
0) exit 0 ;;
2) why='its pipeline, parameters or sources are not right' ;;
3) why='a quality gate did not hold, of the observations or of the model' ;;
4) exit 0 ;; # another run is at work, started by hand or elsewhere
124 | 137) why="it took longer than $minutes minutes and was ended; the old results are in place" ;;
126 | 127) why='krammerti cannot be started: is it on the PATH of the crontab?' ;;
*) why='a stage failed' ;;
esac
printf 'krammerti, %s: %s (exit code %s)\n\n%s\n' "$project" "$why" "$code" "$said"
exit "$code"
