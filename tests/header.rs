//! `include/corelane.h` is what cbindgen makes of `src/ffi`; `CORELANE_WRITE_DOCS=1` writes it. And every exported
//! function is one that the header declares.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<std::path::PathBuf> {
    // In the order of the header; what is exported for tests alone is not in it.
    let files = [
        "status",
        "router",
        "port",
        "written",
        "record",
        "layout",
        "handle",
        "fork",
        "testing",
        "port_tests",
    ];
    let there = std::fs::read_dir(root().join("src/ffi")).unwrap().count();
    assert_eq!(there, files.len(), "a file of src/ffi is not listed");
    files
        .iter()
        .filter(|file| !["testing", "port_tests"].contains(*file))
        .map(|file| root().join(format!("src/ffi/{file}.rs")))
        .collect()
}

/// What Rust's readers need and C's do not: `# Safety` sections.
fn without_safety_sections(header: &str) -> String {
    let mut kept = String::new();
    let mut inside = false;
    for line in header.lines() {
        inside = line.starts_with("//") && (inside || line == "// # Safety");
        if inside {
            continue;
        }
        if !line.starts_with("//") && kept.ends_with("\n//\n") {
            kept.truncate(kept.len() - 3);
        }
        kept.push_str(line.trim_end());
        kept.push('\n');
    }
    kept
}

#[test]
fn the_header_is_what_the_sources_say() {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in sources() {
        builder = builder.with_src(file);
    }
    let mut written = Vec::new();
    builder.generate().unwrap().write(&mut written);
    let header = without_safety_sections(&String::from_utf8(written).unwrap());
    let path = root().join("include/corelane.h");
    if std::env::var_os("CORELANE_WRITE_DOCS").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == header, "include/corelane.h is old: CORELANE_WRITE_DOCS=1 cargo test --test header");
}

#[test]
fn every_exported_function_is_declared_and_documented() {
    let header = std::fs::read_to_string(root().join("include/corelane.h")).unwrap();
    let mut count = 0;
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        for (before, after) in
            text.split("#[unsafe(no_mangle)]").zip(text.split("#[unsafe(no_mangle)]").skip(1))
        {
            let name: String =
                after.split("extern \"C\" fn ").nth(1).unwrap().chars().take_while(|c| *c != '(').collect();
            assert!(name.starts_with("corelane_"), "{name}");
            assert!(header.contains(&format!("{name}(")), "{name} is not in the header");
            let docs = before.rsplit("\n\n").next().unwrap();
            assert!(docs.contains("/// # Safety") && docs.len() > 40, "{name} has no docs");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}
