//! Shell patterns: `*`, `?`, `[a-z]`, `{this,that}`, `**` and `\` before a character that is meant as it is.
//!
//! A pattern without `/` is about names, at any depth; one with `/` about paths below the place where one looks, or,
//! if it begins with `/`, about whole paths. One that ends in `/` is about directories alone. A leading dot of a name
//! is a character like any other.
//!
//! Patterns come from outside, so matching takes time proportional to the pattern times the text, whatever they are: it
//! follows all ways through the pattern at once (Thompson's construction).

mod program;

use self::program::Program;

/// A pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// A pattern.
#[derive(Debug)]
pub struct Pattern {
    scope: Scope,
    directories_only: bool,
    program: Program,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Name,
    Below,
    Whole,
}

/// Something that may fit.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its path from where one looks, without a `/` at the beginning.
    pub below: &'a str,
    /// Its absolute path.
    pub path: &'a str,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl Pattern {
    /// Reads a pattern. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let here = text.strip_prefix("./").unwrap_or(text);
        let bare = here.strip_suffix('/').unwrap_or(here);
        let directories_only = bare.len() < here.len();
        if bare.is_empty() {
            return Err(format!("the pattern `{text}` fits nothing"));
        }
        let scope = match (bare.starts_with('/'), bare.contains('/')) {
            (true, _) => Scope::Whole,
            (false, true) => Scope::Below,
            (false, false) => Scope::Name,
        };
        let program = Program::compile(bare).map_err(|why| format!("the pattern `{text}` {why}"))?;
        Ok(Self { scope, directories_only, program })
    }

    /// Whether it fits.
    pub fn fits(&self, candidate: Candidate) -> bool {
        let text = match self.scope {
            Scope::Name => candidate.name,
            Scope::Below => candidate.below,
            Scope::Whole => candidate.path,
        };
        (candidate.is_dir || !self.directories_only) && self.program.matches(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, below: &str) -> bool {
        let (is_dir, below) = below.strip_suffix('/').map_or((false, below), |below| (true, below));
        let name = below.rsplit('/').next().unwrap();
        let path = format!("/work/{below}");
        Pattern::parse(pattern).unwrap().fits(Candidate { name, below, path: &path, is_dir })
    }

    #[test]
    fn without_a_slash_names_fit_at_any_depth() {
        assert!(fits("*.py", "a.py") && fits("*.py", "deep/er/a.py") && fits("*", ".hidden"));
        assert!(!fits("*.py", "a.pyc") && !fits("a", "a/b"));
    }

    #[test]
    fn with_a_slash_paths_fit_from_where_one_looks() {
        assert!(fits("src/*.py", "src/a.py") && fits("./src/*.py", "src/a.py"));
        assert!(!fits("src/*.py", "x/src/a.py") && !fits("src/*.py", "src/x/a.py"));
        assert!(fits("**/*.py", "a.py") && fits("**/*.py", "x/y/a.py"));
        assert!(fits("src/**/a", "src/a") && fits("src/**/a", "src/x/y/a") && !fits("src/**/a", "srcs/a"));
        assert!(fits("src/**", "src/a") && fits("src/**", "src/x/y") && !fits("src/**", "src"));
        assert!(fits("/work/*.py", "a.py") && fits("/**/a", "x/a") && !fits("/a.py", "a.py"));
    }

    #[test]
    fn a_slash_at_the_end_is_about_directories() {
        assert!(fits("build/", "x/build/") && !fits("build/", "x/build"));
    }

    #[test]
    fn what_fits_nothing_is_refused() {
        for pattern in ["", "/", "./", &"x".repeat(PATTERN_BYTES_MAX + 1)] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
