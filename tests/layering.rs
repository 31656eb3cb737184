//! Checks the layers of ARCHITECTURE.md from the `use` lines: lower modules never name upper ones, and `unsafe`
//! appears only in permitted modules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::{Path, PathBuf};

/// Each module with the modules that it may use. `config` uses the modules whose limits and sizes it states.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("clock", &["sync"]),
    ("id", &[]),
    ("error", &["id"]),
    ("config", &["error", "call", "clients", "metrics", "ring"]),
    ("park", &["sync"]),
    ("call", &["sync", "park"]),
    ("ring", &["sync"]),
    ("envelope", &[]),
    ("metrics", &["sync", "error", "id"]),
    ("clients", &["sync", "clock", "id", "error", "metrics"]),
    (
        "router",
        &[
            "sync", "clock", "error", "config", "park", "call", "ring", "envelope", "metrics", "clients",
            "record",
        ],
    ),
    ("record", &["sync", "clock", "id", "error", "config", "metrics", "clients"]),
    ("monitor", &["sync", "clock", "id", "error", "config", "metrics", "clients", "record"]),
    ("export", &["metrics", "error", "clock", "monitor"]),
    // `ffi` uses `clients` and `metrics` because it exposes the addresses of their words (docs/layout.md).
    (
        "ffi",
        &[
            "sync", "error", "id", "config", "park", "ring", "metrics", "clients", "record", "router",
            "export",
        ],
    ),
    ("races", &["clients", "metrics", "ring"]),
    ("models", &["sync", "clock", "error", "config", "park", "call", "ring", "metrics", "clients", "router"]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn each_source(mut check: impl FnMut(&str, &str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let module = relative.split(['/', '.']).next().unwrap().to_owned();
        if module != "lib" {
            check(&module, &relative, &std::fs::read_to_string(&file).unwrap());
        }
    }
}

#[test]
fn no_module_names_an_upper_one() {
    let mut wrong = Vec::new();
    each_source(|module, file, text| {
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{module} has no layer: add it to MAY_USE"));
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for named in line.split("crate::").skip(1) {
                let name: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if name != module && !name.is_empty() && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{file}: {}", line.trim()));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_ring_sync_and_ffi() {
    let mut wrong = Vec::new();
    each_source(|module, file, text| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code.filter(|line| line.contains("unsafe ") && !line.contains("forbid(")).count();
        if uses > 0 && !["ring", "sync", "ffi", "models"].contains(&module) {
            wrong.push(file.to_owned());
        }
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn only_sync_names_atomics_and_cells() {
    let mut wrong = Vec::new();
    each_source(|module, file, text| {
        // A test's manual clock is not part of any protocol.
        let exempt = ["sync", "clock", "models", "races"].contains(&module);
        if !exempt
            && ["std::sync::atomic", "std::cell::UnsafeCell", "loom::"].iter().any(|name| text.contains(name))
        {
            wrong.push(file.to_owned());
        }
    });
    wrong.retain(|file| file != "ring/memory.rs"); // Under loom its bytes are stored next to loom's cells.
    assert!(wrong.is_empty(), "{wrong:?}");
}
