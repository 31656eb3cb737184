//! Checks the layers of ARCHITECTURE.md from the `use` lines: lower modules never name upper ones, and `unsafe`
//! appears only in permitted modules.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;

mod support;

/// Each module with the modules that it may use. `config` uses the modules whose limits and sizes it states.
const MAY_USE: &[(&str, &[&str])] = &[
    ("sync", &[]),
    ("clock", &["sync"]),
    ("id", &[]),
    ("nearest", &[]),
    ("error", &["id"]),
    ("config", &["nearest", "error", "call", "clients", "metrics", "ring"]),
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
    ("monitor", &["sync", "clock", "id", "nearest", "error", "config", "metrics", "clients", "record"]),
    ("monitored", &["error", "monitor", "router"]),
    ("tokio", &["sync", "clients", "error", "router"]),
    ("cluster", &["config", "sync", "clients", "error", "metrics", "router"]),
    ("outgoing", &["error"]),
    ("elasticsearch", &["sync", "error", "metrics", "monitor", "outgoing"]),
    ("otlp", &["sync", "error", "metrics", "monitor", "export", "outgoing"]),
    ("export", &["metrics", "error", "clock", "monitor"]),
    ("http", &["sync", "error", "config", "clock", "monitor", "export"]),
    // `ffi` uses `clients` and `metrics` because it exposes the addresses of their words (docs/layout.md).
    (
        "ffi",
        &[
            "sync",
            "error",
            "id",
            "clock",
            "config",
            "park",
            "ring",
            "metrics",
            "clients",
            "record",
            "router",
            "export",
            "monitor",
            "http",
            "elasticsearch",
            "otlp",
            "cluster",
        ],
    ),
    ("races", &["clients", "metrics", "ring"]),
    ("models", &["sync", "clock", "error", "config", "park", "call", "ring", "metrics", "clients", "router"]),
];

fn each_source(mut check: impl FnMut(&str, &str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    support::sources(&root, &mut files);
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
fn no_file_of_a_port_names_a_file_of_a_worker() {
    let mut ports = 0;
    each_source(|_, file, text| {
        if file.starts_with("router/port/") {
            ports += 1;
            let code = code(text);
            assert!(!code.contains("router::worker") && !code.contains("super::worker"), "{file}");
        }
    });
    assert!(ports >= 9, "{ports} files");
}

#[test]
fn unsafe_stays_in_ring_sync_ffi_and_the_vector_instructions() {
    let mut wrong = Vec::new();
    each_source(|module, file, text| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code.filter(|line| line.contains("unsafe ") && !line.contains("forbid(")).count();
        let is_vectors = ["envelope/block/sse2.rs", "envelope/block/neon.rs"].contains(&file);
        if uses > 0 && !is_vectors && !["ring", "sync", "ffi", "models"].contains(&module) {
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

/// The files that may import each other in a circle: one mechanism. A handler's closure takes a request, a request acts on the
/// worker's state, and the state is handed over while a handler runs.
const ONE_MECHANISM: &[&str] =
    &["router::worker::handler", "router::worker::request", "router::worker::state"];

/// A source file without comments and unit tests.
fn code(text: &str) -> String {
    let without_tests = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test, not(corelane_loom)))]\nmod tests {"]
        .iter()
        .filter_map(|head| text.find(head))
        .min()
        .map_or(text, |end| &text[..end]);
    let lines = without_tests.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a `use` tree, such as `a::{b, c::{d}}`.
fn expand(prefix: &str, tree: &str, into: &mut Vec<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        into.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let (mut depth, mut part) = (0, String::new());
    for character in tree[open + 1..tree.rfind('}').unwrap_or(tree.len())].chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&prefix, &std::mem::take(&mut part), into);
                continue;
            }
            _ => {}
        }
        part.push(character);
    }
    if !part.trim().is_empty() {
        expand(&prefix, &part, into);
    }
}

/// The imports of a file: of its own, and those that it passes on.
fn imports(code: &str) -> (Vec<String>, Vec<String>) {
    let (mut own, mut passed_on) = (Vec::new(), Vec::new());
    let mut statement = String::new();
    for line in code.lines().map(str::trim) {
        if line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use ")) {
            statement.clear();
        } else if statement.is_empty() {
            continue;
        }
        statement.push_str(line);
        if let Some(whole) = statement.strip_suffix(';') {
            let (before, tree) = whole.split_once("use ").unwrap();
            expand("", tree, if before.is_empty() { &mut own } else { &mut passed_on });
            statement.clear();
        }
    }
    (own, passed_on)
}

/// An absolute module path for one that stands in `module`.
fn absolute(module: &str, path: &str) -> Option<Vec<String>> {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut parts: Vec<&str> = path.split("::").collect();
    match *parts.first()? {
        "crate" => base.clear(),
        "super" => {
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
            parts.insert(0, "");
        }
        "self" => {}
        _ => return None,
    }
    Some(base.into_iter().chain(parts.into_iter().skip(1)).map(str::to_owned).collect())
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut files = std::collections::BTreeMap::new();
    each_source(|_, file, text| {
        let module = file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        if !module.ends_with("::tests") && !module.starts_with("models") && module != "races" {
            files.insert(module, code(text));
        }
    });
    let all: std::collections::BTreeMap<_, _> =
        files.iter().map(|(module, code)| (module.clone(), imports(code))).collect();
    // The file that has an item: the longest module of the path, or where that has it from.
    let owner = |path: &[String]| -> Option<String> {
        let length = (1..=path.len()).rev().find(|length| files.contains_key(&path[..*length].join("::")))?;
        let (module, item) = (path[..length].join("::"), path.get(length));
        let passed_on = item.and_then(|item| {
            let (_, passed_on) = all.get(&module)?;
            passed_on.iter().find_map(|path| {
                let path = path.strip_suffix(&format!("::{item}"))?;
                let inside = absolute(&module, path).unwrap_or_else(|| {
                    module.split("::").chain(path.split("::")).map(str::to_owned).collect()
                });
                files.contains_key(&inside.join("::")).then(|| inside.join("::"))
            })
        });
        Some(passed_on.unwrap_or(module))
    };
    let mut named: std::collections::BTreeMap<&str, Vec<String>> = std::collections::BTreeMap::new();
    for (module, (own, _)) in &all {
        let owners = own.iter().filter_map(|path| owner(&absolute(module, path)?));
        let is_allowed = |other: &String| {
            ONE_MECHANISM.contains(&module.as_str()) && ONE_MECHANISM.contains(&other.as_str())
        };
        named.insert(module, owners.filter(|other| other != module && !is_allowed(other)).collect());
    }
    assert!(named.values().map(Vec::len).sum::<usize>() > 400, "{named:?}");
    // Without the files that import nothing which is left, only circles are left.
    loop {
        let free: Vec<_> = named
            .iter()
            .filter(|(_, others)| !others.iter().any(|one| named.contains_key(one.as_str())))
            .map(|(one, _)| *one)
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|one| drop(named.remove(one)));
    }
    // And without those that nobody in a circle imports.
    loop {
        let used: Vec<_> = named.values().flatten().cloned().collect();
        let unused: Vec<_> =
            named.keys().copied().filter(|one| !used.iter().any(|other| other == one)).collect();
        if unused.is_empty() {
            break;
        }
        unused.iter().for_each(|one| drop(named.remove(one)));
    }
    assert!(named.is_empty(), "these files import each other: {:?}", named.keys().collect::<Vec<_>>());
}
