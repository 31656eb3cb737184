//! Every weakening that is planted in the sources is in a list whose script expects its detection, and every
//! weakening in a list is planted. (V1)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

mod support;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The names that are passed to the calls that plant weakenings.
fn planted() -> BTreeSet<String> {
    let mut files = Vec::new();
    support::sources(&root().join("src"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for call in ["mutant(\"", "ordering(\"", "wake_fence(\""] {
            let calls = text.split(call).skip(1);
            names.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    names
}

/// The last word of each line of both lists.
fn listed() -> BTreeSet<String> {
    let lists = ["scripts/loom-mutants.txt", "scripts/simulator-mutants.txt"];
    let read = |list: &str| std::fs::read_to_string(root().join(list)).unwrap();
    let text = lists.map(read).concat();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect()
}

#[test]
fn every_planted_weakening_is_listed_and_every_listed_one_is_planted() {
    let (planted, listed) = (planted(), listed());
    assert!(planted.len() > 100, "{planted:?}");
    let unlisted: Vec<_> = planted.difference(&listed).collect();
    assert!(unlisted.is_empty(), "planted but in no list of scripts/: {unlisted:?}");
    let unplanted: Vec<_> = listed.difference(&planted).collect();
    assert!(unplanted.is_empty(), "listed but not planted in src/: {unplanted:?}");
}
