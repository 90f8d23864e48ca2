//! Events as lines: of a table for people, of JSON for programs.

use anyhow::Result;
use serde_json::Value;
use wire::public::event::SandboxEvent;

use crate::output::{Object, Output, print, printable};
use crate::terminal::columns;

/// Widths of all columns but the last, which is as wide as it gets: a time with milliseconds, a number, an id, the longest
/// state, the longest reason.
const WIDTHS: [usize; 5] = [24, 6, 24, 12, 14];
/// Blanks between columns.
const GAP: &str = "  ";
/// What stands for what is left out.
const CUT: char = '…';

/// What was shown, and how.
pub struct Shown<'a> {
    output: &'a Output,
    left: Option<u64>,
    begun: bool,
}

impl<'a> Shown<'a> {
    /// Nothing yet; so many at most.
    pub fn new(output: &'a Output, limit: Option<u64>) -> Self {
        Self { output, left: limit, begun: false }
    }

    /// Whether as many were shown as are wanted.
    pub fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    /// Shows one more.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn show(&mut self, event: &Object<SandboxEvent>) -> Result<()> {
        self.left = self.left.map(|left| left.saturating_sub(1));
        if self.output.is_json() {
            return print(&Value::to_string(event.raw()));
        }
        if !self.begun {
            print(&line(["TIME", "NUMBER", "SANDBOX", "STATE", "REASON"], "SEEN"))?;
            self.begun = true;
        }
        let shown = of(&event.it);
        print(&columns().map_or(shown.clone(), |columns| cut(&shown, columns)))
    }
}

fn of(event: &SandboxEvent) -> String {
    let SandboxEvent { id, sandbox_id, state, at, reason, reason_detail } = event;
    let reason = reason.map_or_else(|| "-".to_owned(), |reason| reason.to_string());
    let seen = reason_detail.as_deref().unwrap_or("-");
    line([at, &id.to_string(), sandbox_id.as_str(), &state.to_string(), &reason], seen)
}

/// One line, whatever the cells say.
fn line(cells: [&str; 5], last: &str) -> String {
    let safe = |cell: &str| printable(cell).replace('\n', "\\n");
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(WIDTHS) {
        line.push_str(&format!("{:<width$}{GAP}", safe(cell)));
    }
    line + &safe(last)
}

/// As much of a line as a terminal of so many columns shows in one.
fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let mut kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    kept.push(CUT);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::id::{ENTROPY_BYTES, SandboxId};
    use wire::sandbox::{Reason, State};

    #[test]
    fn an_event_is_one_line_in_columns() {
        let event = SandboxEvent {
            id: 7,
            sandbox_id: SandboxId::from_entropy([0; ENTROPY_BYTES]),
            state: State::Deleted,
            at: "2026-01-02T03:04:05.678Z".into(),
            reason: Some(Reason::EngineLost),
            reason_detail: Some("signal 9\npanic: \u{1b}[2J".into()),
        };
        assert_eq!(
            of(&event),
            "2026-01-02T03:04:05.678Z  7       sbx-aaaaaaaaaaaaaaaaaaaa  deleted       engine_lost     \
             signal 9\\npanic: \\u{1b}[2J"
        );
        let begun = SandboxEvent { state: State::Starting, reason: None, reason_detail: None, ..event };
        assert!(of(&begun).ends_with("  starting      -               -"), "{}", of(&begun));
    }

    #[test]
    fn columns_hold_the_longest_words_there_are() {
        assert!(State::ALL.iter().all(|state| state.as_str().len() <= WIDTHS[3]));
        for reason in [Reason::OutOfMemory, Reason::CreateFailed, Reason::HostRestarted] {
            assert!(reason.as_str().len() <= WIDTHS[4], "{reason}");
        }
    }

    #[test]
    fn a_line_fits_its_terminal() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }
}
