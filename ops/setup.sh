#!/bin/sh
# Installs what the build needs and this machine lacks; does nothing on a machine that has it all.
# RocksDB is C++ (g++), and its bindings are made with libclang.
set -eu

have_libclang() {
    ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib/libclang*.so* 2>/dev/null | grep -q .
}

missing=""
command -v c++ >/dev/null 2>&1 || missing="$missing g++"
have_libclang || missing="$missing libclang-dev"

if [ -n "$missing" ]; then
    install="apt-get install -y --no-install-recommends$missing"
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "missing:$missing. Install them with your package manager, then try again." >&2
        exit 1
    elif [ "$(id -u)" = 0 ]; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive $install
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo -n apt-get update -q && sudo -n env DEBIAN_FRONTEND=noninteractive $install
    else
        echo "missing:$missing. Type: sudo $install" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "missing: the Rust toolchain (cargo, 1.95 or newer). See https://rustup.rs" >&2
    exit 1
fi
