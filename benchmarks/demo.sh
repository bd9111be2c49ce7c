#!/usr/bin/env bash
# What `make demo` runs: it forgets five handwritten digits, and compares the result with a
# pipeline whose dataset never contained them. Each further run forgets five more.
#
# Run it in the root of the repository, with `unlearn` on PATH. It commits nothing, and does not
# change the branch or the index.
set -euo pipefail

export DVC_NO_ANALYTICS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

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

# Stores the folder as a commit without a branch, through a separate index.
snapshot() {
    local parent=() tree
    export GIT_INDEX_FILE="$work/index"
    git add --all .
    tree=$(git write-tree)
    if git rev-parse --quiet --verify HEAD >/dev/null; then parent=(-p HEAD); fi
    git -c user.name=demo -c user.email=demo@example.org \
        commit-tree "$tree" ${parent[@]+"${parent[@]}"} -m 'Before the request'
}

example=data/digits.csv
afterwards='`git checkout data` restores the committed forget list.'
if [ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$(pwd -P)" ]; then
    echo 'This folder is not the root of a git repository, which DVC needs:' \
        'the demo runs in a temporary repository.'
    quietly unlearn init "$work/digits" --example digits >/dev/null
    cd "$work/digits"
    afterwards='The temporary folder was deleted.'
fi

say 'Train a model of 1,797 handwritten digits: eight shards, one model for each'
show unlearn repro

# Five ids from the whole file; the next five when the demo is run again.
requests=$(find data -path 'data/requests/*.json' | wc -l)
awk -F, -v offset=$(((requests + 74) % 350 + 3)) 'NR % 359 == offset { print $1 }' "$example" |
    head -n 5 >"$work/ids.txt"
before=$(snapshot)
before=$(git rev-parse --short "$before")

say "A request: forget the records $(paste -s -d' ' "$work/ids.txt"). What will it cost?"
show unlearn plan --ids "$work/ids.txt"

say 'Add the request to the forget list, as keyed tokens'
show unlearn forget --ids "$work/ids.txt" --ticket "DEMO-$((requests + 1))"

say 'Retrain only the shards that held these records, from the slice that held them'
show unlearn repro

say 'Check what changed since the request, and that nothing else did'
show unlearn audit "$before.."

say 'Show the evidence of the run'
show unlearn verify

say 'The proof: train a new pipeline on a dataset without the records on the list'
room="$work/room"
quietly unlearn init "$room" --example digits >/dev/null
cp params.yaml schema.yaml shards.yaml "$room/"
if [ -f unlearn.key ]; then cp unlearn.key "$room/unlearn.key"; fi
quietly python - "$example" "$room/$example" <<'END'
"""Drop every row whose token is on the forget list."""
import sys
from pathlib import Path

from unlearn.stages.context import open_project
from unlearn.stages.project.paths import find_project

context = open_project(find_project())
listed = set(context.read_list().tokens)
header, *rows = Path(sys.argv[1]).read_text().splitlines(keepends=True)
kept = [row for row in rows if context.tokenizer.token("record", row.split(",")[0]) not in listed]
Path(sys.argv[2]).write_text(header + "".join(kept))
print(f"{len(rows):,} rows in {sys.argv[1]}, {len(kept):,} in the copy")
END
(cd "$room" && show unlearn repro)
# DVC's own .gitignore files are not part of the models.
diff --recursive --exclude=.gitignore models "$room/models" || {
    echo 'The model files differ. This is a bug: please report it.' >&2
    exit 1
}
files=$(find models -type f ! -name .gitignore | wc -l)
echo "diff -r: all $((files)) files under models/ are equal, byte for byte."
printf '\nDone in %d s. %s\n' "$SECONDS" "$afterwards"
