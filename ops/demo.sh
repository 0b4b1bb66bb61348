#!/bin/sh
# The tour: a network of two shards, a transfer across them with a receipt that verifies without a
# node, then a quick sweep over shard counts and barrier intervals and its report.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

work=$(mktemp -d "${TMPDIR:-/tmp}/lockstep-demo.XXXXXX")
network=""
finish() {
    if [ -n "$network" ] && kill -INT "$network" 2>/dev/null; then
        wait "$network" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT INT TERM

target=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
PATH="$target/release:$PATH"

say lockstep up --shards 2 --validators 4 --interval 1s --depth 0
lockstep up --shards 2 --validators 4 --interval 1s --depth 0 --no-tui \
    --dev-json "$work/dev.json" >"$work/up.log" 2>"$work/up.err" &
network=$!
waited=0
until grep -q "Ready in" "$work/up.log"; do
    if ! kill -0 "$network" 2>/dev/null || [ "$waited" -ge 300 ]; then
        cat "$work/up.log" "$work/up.err" >&2
        exit 1
    fi
    sleep 0.1
    waited=$((waited + 1))
done
cat "$work/up.log"

say lockstep send alice bob 5lck --wait finalized
lockstep send alice bob 5lck --wait finalized --yes --network "$work/dev.json"
id=$(lockstep send alice bob 3lck --wait finalized --yes -q --network "$work/dev.json" 2>/dev/null)

say lockstep tx receipt "$id" -o receipt.json
lockstep tx receipt "$id" -o "$work/receipt.json" --network "$work/dev.json"
genesis=$(sed -n 's/.*"genesis_file": *"\([^"]*\)".*/\1/p' "$work/dev.json")
cp "$genesis" "$work/genesis.json"
kill -INT "$network"
wait "$network" || true
network=""

say lockstep tx verify receipt.json --genesis genesis.json "   (the network is stopped)"
lockstep tx verify "$work/receipt.json" --genesis "$work/genesis.json"

say lockstep-bench run quick
report="runs/demo-$(date +%Y-%m-%d-%H%M%S)"
lockstep-bench run quick -o "$report"

printf '\nReport  %s/report.html\n' "$PWD/$report"
