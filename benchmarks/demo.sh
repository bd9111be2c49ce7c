#!/usr/bin/env bash
# What `make demo` runs: it forgets a patient, and compares the result with a pipeline whose dataset
# never contained the patient's visits. It works in a temporary folder.
#
# `unlearn` must be on PATH.
set -euo pipefail

export DVC_NO_ANALYTICS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Nothing is shared with other projects of this machine.
export DVC_SITE_CACHE_DIR="$work/site"

say() { printf '\n== %s\n' "$*"; }

# Shows a command and its standard output; standard error is shown only if the command fails.
show() {
    local command="$*"
    printf '$ %s\n' "${command//"$work/"/}"
    quietly "$@"
}

quietly() {
    "$@" 2>"$work/log" || {
        local code=$?
        cat "$work/log" >&2
        exit "$code"
    }
}

commit() {
    git add --all .
    git -c user.name=demo -c user.email=demo@example.org commit --quiet --message "$1"
}

example=data/example_visits.csv
patient=P00709

say 'A project: made-up visits to a hospital'
cd "$work"
show unlearn init clinic --example visits
cd clinic
commit 'Start'

say 'Train a model on each shard'
before=$SECONDS
show unlearn repro
everything=$((SECONDS - before))
echo "(took $everything s)"
commit 'Train'

say "A request: forget patient $patient. What will it cost?"
echo "$patient" >"$work/patients.txt"
show unlearn plan --subjects "$work/patients.txt"

say 'Add the request to the forget list, as a keyed token'
show unlearn forget --subjects "$work/patients.txt" --ticket DEMO-1

say "Retrain only the shard that holds the patient's visits, from the slice that holds the first"
before=$SECONDS
show unlearn repro
echo "(took $((SECONDS - before)) s; training everything took $everything s)"

say 'Check what changed since the request, and that nothing else did'
show unlearn audit

say 'Show the evidence of the run'
show unlearn verify

say "The proof: train a new pipeline on a dataset without the patient's visits"
room="$work/room"
quietly unlearn init "$room" --example visits >/dev/null
grep --invert-match ",$patient," "$example" >"$room/$example"
echo "$(($(wc -l <"$example") - 1)) visits in $example, $(($(wc -l <"$room/$example") - 1)) in the copy"
(cd "$room" && show unlearn repro)
# DVC's own .gitignore files are not part of the models.
diff --recursive --exclude=.gitignore models "$room/models" || {
    echo 'The model files differ. This is a bug: please report it.' >&2
    exit 1
}
files=$(find models -type f ! -name .gitignore | wc -l)
echo "diff -r: all $((files)) files under models/ are equal, byte for byte."
printf '\nDone in %d s. The temporary folder was deleted.\n' "$SECONDS"
