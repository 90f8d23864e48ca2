//! The map is true: `ARCHITECTURE.md` names every crate, and what it names exists.
//!
//! Looked at are code spans outside fenced blocks: paths (`crates/…`, `….rs`) and names (`crate::item`,
//! `Type::item`). A name is found where it is declared, in the sources of its crate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What declares an item whose name follows.
const DECLARATIONS: [&str; 9] =
    ["fn ", "struct ", "enum ", "trait ", "mod ", "const ", "static ", "type ", "macro_rules! "];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// What names are looked up in.
struct Tree {
    /// Every file's path from the root of the tree.
    paths: Vec<String>,
    /// Each crate's Rust sources, by the crate's name.
    sources: BTreeMap<String, String>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self { paths: Vec::new(), sources: BTreeMap::new() };
        tree.walk(root, root);
        tree
    }

    fn walk(&mut self, root: &Path, directory: &Path) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let from_root =
                path.strip_prefix(root).unwrap().to_str().expect("our file names are UTF-8").to_owned();
            let hidden = from_root.starts_with('.') && !from_root.starts_with(".ci");
            if hidden || from_root == "target" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                self.walk(root, &path);
            } else if let Some(name) = crate_of(&from_root).filter(|_| from_root.ends_with(".rs")) {
                let source = fs::read_to_string(&path).unwrap();
                self.sources.entry(name.to_owned()).or_default().push_str(&source);
            }
            self.paths.push(from_root);
        }
    }

    fn crates(&self) -> impl Iterator<Item = &str> {
        self.paths
            .iter()
            .filter_map(|path| path.strip_suffix("/Cargo.toml"))
            .filter(|path| path.starts_with("crates/"))
    }

    /// What is wrong with a code span, if anything.
    fn problem(&self, span: &str) -> Option<String> {
        if span.contains(['…', '<', '>', '{', '*', ' ']) {
            return None;
        }
        if is_path(span) {
            let wanted = span.trim_end_matches('/');
            let below = format!("{wanted}/");
            let at_end = format!("/{wanted}");
            let found = |path: &String| path == wanted || path.starts_with(&below) || path.ends_with(&at_end);
            return (!self.paths.iter().any(found)).then(|| format!("there is no file `{span}`"));
        }
        let name = span.trim_end_matches("()");
        let (first, rest) = name.split_once("::")?;
        let segments = rest.split("::");
        if let Some(source) = self.sources.get(first) {
            return missing(segments, source)
                .map(|item| format!("`{span}`: crate {first} declares no `{item}`"));
        }
        if !first.starts_with(char::is_uppercase) {
            return None;
        }
        let all: String = self.sources.values().map(String::as_str).collect();
        missing([first].into_iter().chain(segments), &all)
            .map(|item| format!("`{span}`: no crate declares `{item}`"))
    }
}

/// The crate a file belongs to.
fn crate_of(path: &str) -> Option<&str> {
    let path = path.strip_prefix("crates/").unwrap_or(path);
    let (name, rest) = path.split_once('/')?;
    (rest.starts_with("src/")).then_some(name)
}

/// Whether a span is meant as a path of ours. Paths on a host or in a sandbox start with `/`; routes do too.
fn is_path(span: &str) -> bool {
    let tops =
        ["crates/", "tests/", "testkit/", "xtask/", "images/", "scripts/", "contract/", "bench/", "docs/"];
    !span.starts_with('/') && (tops.iter().any(|top| span.starts_with(top)) || span.ends_with(".rs"))
}

/// The first of these names that the source declares nowhere.
fn missing<'a>(mut names: impl Iterator<Item = &'a str>, source: &str) -> Option<&'a str> {
    names.find(|name| !declares(source, name))
}

/// Whether the source declares an item, a variant or a field of this name.
fn declares(source: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
    let as_item = |declaration: &&str| {
        let declared = format!("{declaration}{name}");
        source.match_indices(&declared).any(|(at, _)| ends(&source[at + declared.len()..]))
    };
    let as_member = |line: &str| {
        let rest = line.trim_start().trim_start_matches("pub ").strip_prefix(name);
        let follows = [",", "(", ": ", " {", " ="];
        rest.is_some_and(|rest| rest.is_empty() || follows.iter().any(|follow| rest.starts_with(follow)))
    };
    DECLARATIONS.iter().any(as_item) || source.lines().any(as_member)
}

/// The code spans of a text, each with its line from 1, fenced blocks left out.
fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(|span| (index + 1, span)));
        }
    }
    spans
}

/// Everything in the map that is not true.
fn problems(map: &str, tree: &Tree) -> Vec<String> {
    let spans = code_spans(map);
    let unnamed = tree.crates().filter(|name| !spans.iter().any(|(_, span)| span == name));
    let unnamed = unnamed.map(|name| format!("`{name}` has no paragraph"));
    let wrong = spans.iter().filter_map(|(line, span)| Some(format!("line {line}: {}", tree.problem(span)?)));
    unnamed.chain(wrong).collect()
}

#[test]
fn the_map_names_every_crate_and_only_what_exists() {
    let root = root();
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is the map");
    let found = problems(&map, &Tree::read(&root));
    assert!(found.is_empty(), "ARCHITECTURE.md:\n  {}", found.join("\n  "));
}

/// A tree of two crates, `wire` and `engine`.
fn small_tree() -> Tree {
    let paths =
        ["crates/wire/Cargo.toml", "crates/engine/Cargo.toml", "crates/engine/src/steps.rs", "scripts/demo"];
    let engine = "pub enum Engine {\n    /// It.\n    Gvisor(Gvisor),\n}\nimpl Engine {\n    pub async fn down(&self) {}\n}\n";
    let sources = [("wire", "pub mod guest;\npub const GENERATION: u32 = 1;\n"), ("engine", engine)];
    Tree {
        paths: paths.map(String::from).to_vec(),
        sources: sources.map(|(name, source)| (name.to_owned(), source.to_owned())).into(),
    }
}

/// The map of the small tree with this added has this problem, or none.
fn check(added: &str, expect: Option<&str>) {
    let map = format!("`crates/wire` and `crates/engine`. {added}\n");
    let found = problems(&map, &small_tree());
    match expect {
        None => assert!(found.is_empty(), "{added}: {found:?}"),
        Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{added}: {found:?}"),
    }
}

#[test]
fn a_crate_without_a_paragraph_is_found() {
    let found = problems("`crates/wire` only\n", &small_tree());
    assert_eq!(found, ["`crates/engine` has no paragraph"]);
}

#[test]
fn a_path_that_is_gone_is_found() {
    check("`steps.rs` `engine/src/steps.rs` `crates/engine/` `scripts/demo`", None);
    check("`step.rs`", Some("`step.rs`"));
    check("`crates/proxy/src/lib.rs`", Some("crates/proxy"));
    check("`/v1/sandbox` `/run/atoll/x.rs`", None);
}

#[test]
fn a_name_that_is_gone_is_found() {
    check("`wire::guest` `wire::GENERATION` `Engine::down` `engine::Engine::Gvisor` `Engine::down()`", None);
    check("`wire::gues`", Some("declares no `gues`"));
    check("`engine::Engine::up`", Some("declares no `up`"));
    check("`Engine::up`", Some("no crate declares `up`"));
    check("`wire::Engine`", Some("declares no `Engine`"));
}

#[test]
fn names_of_others_patterns_and_drawings_are_left_alone() {
    check("`tokio::spawn` `Engine` `crates/*` `crates/…/lib.rs`", None);
    check("\n```\n`crates/proxy/gone.rs`\n```\n", None);
}
