//! A stream of bytes cut into lines, bounded in every direction.

use std::collections::VecDeque;

/// Bytes of a line; what is over counts as the next line.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of output that are kept for the report; the oldest lines go first.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The lines so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: VecDeque<String>,
    kept_bytes: usize,
    dropped: usize,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes more bytes, and tells each line that they complete.
    pub(super) fn take(&mut self, bytes: &[u8], mut on_line: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || self.partial.len() == LINE_BYTES_MAX {
                self.complete(&mut on_line);
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
    }

    /// The end of the stream: a last line without its end is a line. All of them, joined.
    pub(super) fn finish(mut self, mut on_line: impl FnMut(&str)) -> String {
        if !self.partial.is_empty() {
            self.complete(&mut on_line);
        }
        let mut text = match self.dropped {
            0 => String::new(),
            dropped => format!("[{dropped} earlier lines left out]\n"),
        };
        for line in &self.kept {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    fn complete(&mut self, on_line: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial.clear();
        on_line(&line);
        self.kept_bytes += line.len();
        self.kept.push_back(line);
        while self.kept_bytes > OUTPUT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[&str]) {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.take(chunk, |line| told.push(line.to_owned()));
        }
        let text = lines.finish(|line| told.push(line.to_owned()));
        assert_eq!(told, expected);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_do_not_depend_on_how_the_bytes_arrive() {
        check(&[b"one\ntw", b"o\n\nend"], &["one", "two", "", "end"]);
        check(&[b"one", b"\n"], &["one"]);
        check(&[], &[]);
        check(&[b"\xff\n"], &["\u{fffd}"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_old_lines_go_first() {
        let mut lines = Lines::default();
        let mut told = 0;
        lines.take(&vec![b'x'; OUTPUT_BYTES_MAX + 3 * LINE_BYTES_MAX + 1], |_| told += 1);
        let text = lines.finish(|_| ());
        assert_eq!(told, OUTPUT_BYTES_MAX / LINE_BYTES_MAX + 3);
        assert!(text.starts_with("[4 earlier lines left out]\n"), "{}", &text[..40]);
        assert!(text.ends_with("x\nx\n") || text.ends_with("\nx\n"));
    }
}
