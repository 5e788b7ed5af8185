#!/bin/sh
# forecast.sh PROJECT [MINUTES [DATA...]]: brings a project up to date, for cron. It is silent where all is well,
# so cron has nothing to mail; else it says what went wrong and ends with krammerti's exit code. Of the data sets
# that are named it looks whether they are too old.
set -eu
usage='usage: forecast.sh PROJECT [MINUTES [DATA...]]'
project=${1:?$usage}
minutes=${2:-50} # less than the time to the next start
shift
[ $# -eq 0 ] || shift

# cron's standard input may be closed; --no-wait, because the next start is soon enough.
code=0
said=$(timeout --kill-after=60 "${minutes}m" \
  krammerti -C "$project" --quiet --no-wait run </dev/null 2>&1) || code=$?

case $code in
0) why= ;;
2) why='its pipeline, parameters or sources are not right' ;;
3) why='a quality gate did not hold, of the observations or of the model' ;;
4) exit 0 ;; # another run is at work, started by hand or elsewhere
124 | 137) why="it took longer than $minutes minutes and was ended; the old results are in place" ;;
126 | 127) why='krammerti cannot be started: is it on the PATH of the crontab?' ;;
*) why='a stage failed' ;;
esac
if [ -n "$why" ]; then
  printf 'krammerti, %s: %s (exit code %s)\n\n%s\n' "$project" "$why" "$code" "$said"
  exit "$code"
fi

# A station that has no forecast, and the like: all is done, and still somebody should know.
printf '%s\n' "$said" | grep '^warning:' || true

# Nothing fails where no new observations come; `prepare.quality.timeliness: fail` says that they must.
for data in "$@"; do
  said=$(krammerti -C "$project" --quiet check "$data" </dev/null 2>&1) || {
    code=$?
    printf 'krammerti, %s: %s is not as it should be (exit code %s)\n\n%s\n' "$project" "$data" "$code" "$said"
  }
done
exit "$code"
