# shellcheck shell=bash
# Sourced by the scripts here: runs a long command with its output in a log and one line of progress.

# run_with_progress LABEL LOG COMMAND...
# On a terminal the line is rewritten each half second; elsewhere one comes every 15 s. It shows how
# far ninja ("[n/m]") or apt (with APT::Status-Fd=3) is, as the log's last lines tell. On failure the log's last lines are shown
# and the command's status is returned.
run_with_progress() {
  local label=$1 log=$2 started=$SECONDS status=0 elapsed=0 shown=0
  shift 2
  "$@" >"$log" 2>&1 </dev/null &
  local pid=$!
  # shellcheck disable=SC2064  # a background process ignores Ctrl-C: this one is told by name
  trap "kill $pid 2>/dev/null; exit 130" INT TERM
  while kill -0 "$pid" 2>/dev/null; do
    elapsed=$((SECONDS - started))
    if [[ -t 2 ]]; then
      printf '\r\033[K%s %s(%d s)' "$label" "$(_progress_of "$log")" "$elapsed" >&2
    elif ((elapsed >= shown + 15)); then
      shown=$elapsed
      printf '%s %s(%d s)\n' "$label" "$(_progress_of "$log")" "$elapsed" >&2
    fi
    sleep 0.5
  done
  wait "$pid" || status=$?
  trap - INT TERM
  elapsed=$((SECONDS - started))
  if ((status == 0)); then
    [[ -t 2 ]] && printf '\r\033[K' >&2
    printf '%s done (%d s)\n' "$label" "$elapsed" >&2
  else
    [[ -t 2 ]] && printf '\r\033[K' >&2
    printf '%s failed after %d s; the end of %s:\n' "$label" "$elapsed" "$log" >&2
    grep -vE '^(dl|pm)status:' "$log" | tail -n 25 >&2
  fi
  return "$status"
}

_progress_of() {
  tail -n 5 "$1" 2>/dev/null | sed -nE \
    's/^(\[ *[0-9]+\/[0-9]+\]).*/\1 /p; s/^(dl|pm)status:[^:]*:([0-9]+)[.:].*/\2% /p' | tail -n 1
}
