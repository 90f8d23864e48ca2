//! Rust files: how long they are, and how often they give up.

use super::Finding;
use super::files::File;

/// A file of more lines has more than one subject.
const LINES_MAX: usize = 600;
/// Files that are longer, with the reason. May only shrink.
const LONG_FILES: [(&str, &str); 0] = [];

/// Calls that panic on failure, outside tests, in the whole tree. May only shrink.
const PANICS: usize = 1;
/// The calls. In pieces, so that this file has none.
const CALLS: [&str; 2] = [concat!(".unwr", "ap()"), concat!(".exp", "ect(")];
/// Where the tests of a file begin.
const TESTS: &str = concat!("#[cfg(", "test)]");

const SOURCE: &str = "xtask/src/tidy/source.rs";

pub fn check(files: &[File]) -> Vec<Finding> {
    let rust = || files.iter().filter(|file| file.path.ends_with(".rs") && !is_test(&file.path));
    let mut findings: Vec<Finding> = rust().filter_map(|file| check_length(file, &LONG_FILES)).collect();
    let panics: Vec<Finding> = rust().flat_map(panics).collect();
    findings.extend(check_panics(panics, PANICS));
    findings
}

/// Test crates, and test files and directories of others.
fn is_test(path: &str) -> bool {
    let in_tests = path.starts_with("tests/") || path.starts_with("testkit/") || path.contains("/tests/");
    in_tests || path.ends_with("/tests.rs")
}

fn check_length(file: &File, allowed: &[(&str, &str)]) -> Option<Finding> {
    let lines = before_tests(file).count();
    let is_allowed = allowed.iter().any(|(path, _)| *path == file.path);
    match (lines > LINES_MAX, is_allowed) {
        (true, false) => {
            let what = format!("{lines} lines, its tests left out");
            Some(Finding::new(&file.path, 0, what, format!("split it by subject; {LINES_MAX} is the most")))
        }
        (false, true) => {
            Some(Finding::new(&file.path, 0, "no longer too long", format!("take it off {SOURCE}")))
        }
        _ => None,
    }
}

fn check_panics(panics: Vec<Finding>, allowed: usize) -> Vec<Finding> {
    let count = panics.len();
    match count.cmp(&allowed) {
        std::cmp::Ordering::Equal => Vec::new(),
        std::cmp::Ordering::Greater => panics,
        std::cmp::Ordering::Less => {
            let what = format!("{count} calls that panic are left of {allowed}");
            vec![Finding::new(SOURCE, 0, what, format!("set PANICS to {count}"))]
        }
    }
}

/// Each call that panics, as it will be shown if there are too many.
fn panics(file: &File) -> impl Iterator<Item = Finding> + use<'_> {
    let lines = before_tests(file).enumerate();
    let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let calling = code.filter(|(_, line)| CALLS.iter().any(|call| line.contains(call)));
    calling.map(|(index, line)| {
        let what = format!(
            "`{}` can panic, and the tree has more such calls than the {PANICS} allowed",
            line.trim()
        );
        Finding::new(&file.path, index + 1, what, "return the error")
    })
}

/// The lines up to the module of tests, which comes last in a file.
fn before_tests(file: &File) -> impl Iterator<Item = &str> {
    let mut lines = file.text.as_deref().unwrap_or_default().lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let tests_begin = line == TESTS && lines.peek().is_some_and(|next| next.starts_with("mod "));
        (!tests_begin).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(lines: usize) -> File {
        File::text("crates/a/src/b.rs", &"x\n".repeat(lines))
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_listed() {
        let listed = [("crates/a/src/b.rs", "a table")];
        assert_eq!(check_length(&file_of(LINES_MAX), &[]), None);
        assert!(check_length(&file_of(LINES_MAX + 1), &[]).unwrap().what.contains("601"));
        assert_eq!(check_length(&file_of(LINES_MAX + 1), &listed), None);
    }

    #[test]
    fn a_listed_file_that_became_short_is_taken_off_the_list() {
        let listed = [("crates/a/src/b.rs", "a table")];
        assert!(check_length(&file_of(3), &listed).unwrap().remedy.contains("take it off"));
    }

    #[test]
    fn panics_are_counted_up_to_the_tests_and_not_in_comments() {
        let [unwrap, expect] = CALLS;
        let text =
            format!("a{unwrap};\n// b{unwrap}\nc{expect}\"r\");\n{TESTS}\nmod tests {{\nd{unwrap};\n}}\n");
        let file = File::text("crates/a/src/b.rs", &text);
        let lines: Vec<usize> = panics(&file).map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn the_number_of_panics_may_only_shrink() {
        let panics = |count| vec![Finding::new("a.rs", 1, "can panic", "return"); count];
        assert_eq!(check_panics(panics(3), 3), []);
        assert_eq!(check_panics(panics(4), 3).len(), 4);
        assert!(check_panics(panics(2), 3)[0].remedy.contains("PANICS to 2"));
    }

    #[test]
    fn tests_may_panic() {
        assert!(
            is_test("tests/tests/x.rs") && is_test("crates/a/tests/x.rs") && is_test("testkit/src/lib.rs")
        );
        assert!(is_test("crates/a/src/b/tests.rs"));
        assert!(!is_test("crates/a/src/contests.rs"));
    }
}
