//! What an edit changed, for people: a unified diff.

use std::fmt::Write;
use std::time::{Duration, Instant};

use similar::{Algorithm, TextDiff};

/// How long is looked for the shortest diff; after that, a longer one will do.
const SEARCH_MAX: Duration = Duration::from_secs(2);
/// Lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// A diff, in bytes. What is beyond is left out, and said to be.
const DIFF_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The change from `before` to `after`, with `path` on both sides; empty if there is none.
pub fn unified(path: &str, before: &str, after: &str) -> String {
    within(DIFF_BYTES_MAX, path, before, after)
}

fn within(bytes_max: usize, path: &str, before: &str, after: &str) -> String {
    let deadline = Instant::now() + SEARCH_MAX;
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).deadline(deadline).diff_lines(before, after);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT_LINES).iter_hunks() {
        if text.is_empty() {
            text = format!("--- {path}\n+++ {path}\n");
        }
        let length = text.len();
        // Writing to a string does not fail.
        let _ = write!(text, "{hunk}");
        if text.len() > bytes_max {
            text.truncate(length);
            text.push_str("# the rest of the diff is too long to be shown\n");
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let before: String = (1..=9).map(|line| format!("{line}\n")).collect();
        let expect = "--- /f\n+++ /f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(unified("/f", &before, &before.replace('5', "five")), expect);
        assert_eq!(unified("/f", &before, &before), "");
    }

    #[test]
    fn a_missing_newline_at_the_end_is_told() {
        assert_eq!(
            unified("/f", "a", "b"),
            "--- /f\n+++ /f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn a_diff_that_is_too_long_says_so() {
        let before = format!("x\n{}x\n", "y\n".repeat(200));
        let diff = within(70, "/f", &before, &before.replace('x', "z"));
        assert!(diff.contains("\n-x\n+z\n") && diff.ends_with("too long to be shown\n"), "{diff}");
        assert_eq!(diff.matches("-x").count(), 1, "{diff}");
    }

    /// `before` with the diff carried out on it.
    fn patched(before: &str, diff: &str) -> String {
        let mut rest = before.split_inclusive('\n');
        let (mut after, mut taken) = (String::new(), 0);
        for line in diff.split_inclusive('\n').skip(2) {
            let (mark, content) = line.split_at(1);
            match mark {
                "@" => {
                    let range = line.split(' ').nth(1).unwrap().trim_start_matches('-');
                    let (start, count) = range.split_once(',').unwrap_or((range, "1"));
                    let start: usize = start.parse().unwrap();
                    let begin = if count == "0" { start } else { start - 1 };
                    after.extend(rest.by_ref().take(begin - taken));
                    taken = begin;
                }
                "+" => after += content,
                _ => {
                    let line = rest.next().unwrap();
                    taken += 1;
                    assert_eq!(line, content);
                    after += if mark == " " { line } else { "" };
                }
            }
        }
        after.extend(rest);
        after
    }

    proptest! {
        #[test]
        fn a_diff_leads_from_one_to_the_other(before in "([abc]\n){0,30}", after in "([abc]\n){0,30}") {
            prop_assert_eq!(patched(&before, &unified("/f", &before, &after)), after);
        }
    }
}
