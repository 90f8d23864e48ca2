//! Lines, whatever they are written in.
//!
//! What is forbidden is spelled in pieces here, so that this file may be checked too.

use std::path::Path;

use super::Finding;
use super::files::File;

/// A binary file of more bytes does not belong in a repository.
const BINARY_BYTES_MAX: u64 = 1024 * 1024;

/// Written by package managers, which write what they like.
const LOCK_FILES: [&str; 5] = ["Cargo.lock", "package-lock.json", "pnpm-lock.yaml", "uv.lock", "go.sum"];

/// Hosts of package registries and mirrors: machines are configured with theirs.
const HOSTS: [&str; 14] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("yarnpkg", ".com"),
    concat!("proxy.golang", ".org"),
    concat!("sum.golang", ".org"),
    concat!("rubygems", ".org"),
    concat!("repo.maven", ".apache.org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("snapshot.debian", ".org"),
    concat!("archive.ubuntu", ".com"),
];

/// Marks of unfinished work.
const MARKS: [&str; 5] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

/// Checks every file; `places` are paths that mean something on one machine only.
pub fn check(files: &[File], places: &[String]) -> Vec<Finding> {
    files.iter().flat_map(|file| check_file(file, places)).collect()
}

/// The absolute path of the checkout, unless it lies at the top, where its name may mean anything. What lies
/// beside it is not ours to judge: a checkout may be in a directory that every machine has.
pub fn places(root: &Path) -> Vec<String> {
    let is_deep = root.parent().is_some_and(|parent| parent.parent().is_some());
    root.to_str().filter(|_| is_deep).map(str::to_owned).into_iter().collect()
}

fn check_file(file: &File, places: &[String]) -> Vec<Finding> {
    let Some(text) = &file.text else { return check_binary(file) };
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if LOCK_FILES.contains(&name) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| {
            check_line(file, line, places).map(move |(what, how)| (index + 1, what, how))
        })
        .map(|(line, what, how)| Finding::new(&file.path, line, what, how))
        .collect();
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(&file.path, text.lines().count(), "no newline at the end", "add one"));
    }
    findings
}

fn check_binary(file: &File) -> Vec<Finding> {
    if file.size_bytes <= BINARY_BYTES_MAX {
        return Vec::new();
    }
    let what = format!("a binary file of {} KiB", file.size_bytes / 1024);
    vec![Finding::new(&file.path, 0, what, "make it at build time, or keep it elsewhere")]
}

/// What is wrong with a line, and what to do.
fn check_line<'a>(
    file: &'a File,
    line: &'a str,
    places: &'a [String],
) -> impl Iterator<Item = (String, String)> + use<'a> {
    let found = |words: &'static [&'static str], holds: fn(&str, &str) -> bool| {
        words.iter().filter(move |word| holds(line, word))
    };
    let hosts = found(&HOSTS, names_host).map(|host| {
        (format!("names the host {host}"), "take the address from the machine's configuration".into())
    });
    let places = places.iter().filter(|place| is_place(line, place)).map(|place| {
        (format!("names {place} of this machine"), "use a path below the project, or an option".into())
    });
    let marks = found(&MARKS, has_mark)
        .map(|mark| (format!("has the mark {mark}"), "finish it, or refuse the case by name".into()));
    let space = line.ends_with([' ', '\t']).then(|| ("ends with white space".into(), "remove it".into()));
    let tab = (file.path.ends_with(".rs") && line.contains('\t'))
        .then(|| ("has a tab".into(), "run `cargo fmt`, or write \\t".into()));
    hosts.chain(places).chain(marks).chain(space).chain(tab)
}

/// The host or one below it, not a longer name that ends or begins like it.
fn names_host(line: &str, host: &str) -> bool {
    bounded(line, host, |before| before.is_ascii_alphanumeric() || before == '-')
}

/// The path itself or the start of a longer one, not the middle of one.
fn is_place(line: &str, place: &str) -> bool {
    bounded(line, place, |before| before.is_alphanumeric() || ")}]._-*~$".contains(before))
}

/// The mark as a word of its own.
fn has_mark(line: &str, mark: &str) -> bool {
    bounded(line, mark, |before| before.is_ascii_alphanumeric() || before == '_')
}

fn bounded(line: &str, word: &str, continues: fn(char) -> bool) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let after = line[at + word.len()..].chars().next();
        let ends =
            word.ends_with('!') || !after.is_some_and(|after| after.is_ascii_alphanumeric() || after == '_');
        !line[..at].chars().next_back().is_some_and(continues) && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text has this finding if `part` is one, none otherwise.
    fn check_text(path: &str, text: &str, part: Option<&str>) {
        let places = ["/place/checkout".to_owned()];
        let found: Vec<String> =
            check(&[File::text(path, text)], &places).iter().map(ToString::to_string).collect();
        match part {
            None => assert!(found.is_empty(), "{text:?}: {found:?}"),
            Some(part) => assert!(found.len() == 1 && found[0].contains(part), "{text:?}: {found:?}"),
        }
    }

    #[test]
    fn a_registry_host_is_found_alone_and_as_a_subdomain_but_not_in_a_lock_file() {
        for host in HOSTS {
            check_text("docs/a.md", &format!("fetch https://{host}/x\n"), Some(host));
            check_text("docs/a.md", &format!("fetch static.{host}.\n"), Some(host));
            check_text("Cargo.lock", &format!("source = \"https://{host}\"\n"), None);
            check_text("docs/a.md", &format!("my{host}\n"), None);
        }
    }

    #[test]
    fn a_place_is_found_where_a_path_begins() {
        check_text("a.sh", "cd /place/checkout/crates\n", Some("a.sh:1: names /place/checkout"));
        check_text("a.sh", "cd \"/place/checkout\"\n", Some("names"));
        check_text("a.sh", "cd target/place/checkout\n", None);
        check_text("a.sh", "cd ${DIR}/place/checkout\n", None);
        check_text("a.sh", "cd /place/checkouts\n", None);
    }

    #[test]
    fn the_checkout_is_a_place() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let is_top = root.parent().is_none_or(|parent| parent.parent().is_none());
        assert!(is_top || places(root).contains(&root.to_str().unwrap().to_owned()));
        assert!(places(Path::new("/checkout")).is_empty(), "everything lies beside a checkout at the top");
    }

    #[test]
    fn a_mark_is_found_as_a_word() {
        for mark in MARKS {
            check_text("a.rs", &format!("// {mark} later\n"), Some(mark));
            check_text("a.rs", &format!("MY_{mark} later\n"), None);
        }
        check_text("a.rs", &format!("{}(\"x\")\n", MARKS[0]), Some(MARKS[0]));
        check_text("Cargo.toml", "todo = \"warn\"\n", None);
    }

    #[test]
    fn white_space_is_where_it_belongs() {
        check_text("a.md", "one \ntwo\n", Some("a.md:1: ends with white space"));
        check_text("a.md", "one\ntwo", Some("a.md:2: no newline"));
        check_text("a.md", "", None);
        check_text("a.rs", "\tlet x;\n", Some("tab"));
        check_text("Makefile", "all:\n\ttrue\n", None);
    }

    #[test]
    fn a_big_binary_is_found_and_a_small_one_is_not() {
        let binary = |size_bytes| [File { path: "logo.png".into(), size_bytes, text: None }];
        assert_eq!(check(&binary(BINARY_BYTES_MAX), &[]).len(), 0);
        assert_eq!(check(&binary(BINARY_BYTES_MAX + 1), &[]).len(), 1);
    }
}
