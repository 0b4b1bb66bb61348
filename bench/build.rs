//! Stamps the binary with the commit and the compiler it was built with, for the manifest.

use std::process::Command;

fn main() {
    for path in ["../.git/HEAD", "../.git/logs/HEAD", "../.git/index", "src"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let commit = output("git", &["rev-parse", "HEAD"]);
    let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
    let dirty = if changed.is_empty() {
        ""
    } else {
        " with local changes"
    };
    println!("cargo::rustc-env=LOCKSTEP_COMMIT={commit}{dirty}");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    println!(
        "cargo::rustc-env=LOCKSTEP_COMPILER={}",
        output(&compiler, &["--version"])
    );
}

/// What a command prints, or nothing: a source archive has no git directory.
fn output(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).output();
    ran.ok()
        .and_then(|o| String::from_utf8(o.stdout).ok())
        .unwrap_or_default()
        .trim()
        .to_owned()
}
