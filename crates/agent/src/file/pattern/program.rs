//! A pattern as a small machine: a list of operations, of which a text keeps some alive.

/// Braces within braces.
const BRACES_DEPTH_MAX: u32 = 8;

/// One operation. Those that take a character go on to the next operation unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    /// Takes this character.
    One(char),
    /// Takes any character but `/`.
    Any,
    /// Takes a character of a class; never `/`.
    Class { ranges: Vec<(char, char)>, inverted: bool },
    /// Takes any number of characters but `/`.
    Many,
    /// Takes any number of characters, the last a `/`.
    Deep,
    /// Takes anything.
    All,
    /// Goes on here and there.
    Either(usize, usize),
    /// Goes on there.
    Jump(usize),
    /// The text fits if it ends here.
    End,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Program(Vec<Op>);

impl Program {
    /// The error continues a sentence about the pattern.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        let chars: Vec<char> = pattern.chars().collect();
        let mut compiler = Compiler { chars: &chars, at: 0, ops: Vec::new() };
        compiler.sequence(0)?;
        compiler.ops.push(Op::End);
        Ok(Self(compiler.ops))
    }

    /// Whether all of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        let mut alive = Alive::new(self.0.len());
        let mut next = Alive::new(self.0.len());
        self.reach(0, &mut alive);
        for char in text.chars() {
            for &at in &alive.list {
                self.take(at, char, &mut next);
            }
            std::mem::swap(&mut alive, &mut next);
            next.clear();
            if alive.list.is_empty() {
                return false;
            }
        }
        alive.list.iter().any(|&at| self.0[at] == Op::End)
    }

    /// What the operation at `at` makes of a character.
    fn take(&self, at: usize, char: char, next: &mut Alive) {
        let in_name = char != '/';
        match &self.0[at] {
            Op::One(wanted) if *wanted == char => self.reach(at + 1, next),
            Op::Any if in_name => self.reach(at + 1, next),
            Op::Class { ranges, inverted } if in_name && has(ranges, char) != *inverted => {
                self.reach(at + 1, next);
            }
            Op::Many if in_name => self.reach(at, next),
            Op::All => self.reach(at, next),
            Op::Deep => {
                next.add(at);
                if !in_name {
                    self.reach(at + 1, next);
                }
            }
            _ => {}
        }
    }

    /// Makes an operation alive, and all that can be reached from it without a character.
    fn reach(&self, at: usize, alive: &mut Alive) {
        alive.found.push(at);
        while let Some(at) = alive.found.pop() {
            if !alive.add(at) {
                continue;
            }
            match self.0[at] {
                Op::Many | Op::All => alive.found.push(at + 1),
                Op::Jump(to) => alive.found.push(to),
                Op::Either(one, other) => alive.found.extend([one, other]),
                _ => {}
            }
        }
    }
}

fn has(ranges: &[(char, char)], char: char) -> bool {
    ranges.iter().any(|(from, to)| (from..=to).contains(&&char))
}

/// The operations that are alive.
struct Alive {
    list: Vec<usize>,
    is_in: Vec<bool>,
    /// Those that are to be added.
    found: Vec<usize>,
}

impl Alive {
    fn new(length: usize) -> Self {
        Self { list: Vec::new(), is_in: vec![false; length], found: Vec::new() }
    }

    /// False if it was there.
    fn add(&mut self, at: usize) -> bool {
        let is_new = !std::mem::replace(&mut self.is_in[at], true);
        if is_new {
            self.list.push(at);
        }
        is_new
    }

    fn clear(&mut self) {
        self.list.drain(..).for_each(|at| self.is_in[at] = false);
    }
}

struct Compiler<'a> {
    chars: &'a [char],
    at: usize,
    ops: Vec<Op>,
}

impl Compiler<'_> {
    /// Up to the end, or to what ends it within braces, which is left.
    fn sequence(&mut self, depth: u32) -> Result<(), String> {
        while let Some(&char) = self.chars.get(self.at) {
            match char {
                ',' | '}' if depth > 0 => return Ok(()),
                '*' => self.stars(),
                '[' => self.class()?,
                '{' => self.braces(depth + 1)?,
                '?' => self.push(Op::Any),
                '\\' => {
                    self.at += 1;
                    let escaped = *self.chars.get(self.at).ok_or("ends in `\\`")?;
                    self.push(Op::One(escaped));
                }
                other => self.push(Op::One(other)),
            }
        }
        if depth > 0 { Err("has a `{` without its `}`".into()) } else { Ok(()) }
    }

    fn push(&mut self, op: Op) {
        self.ops.push(op);
        self.at += 1;
    }

    /// `**` is any depth where it stands for whole names, and `*` elsewhere.
    fn stars(&mut self) {
        let begins_name = self.at == 0 || matches!(self.chars[self.at - 1], '/' | '{' | ',');
        let count = self.chars[self.at..].iter().take_while(|char| **char == '*').count();
        self.at += count;
        let after = self.chars.get(self.at);
        match after {
            Some('/') if count == 2 && begins_name => {
                let deep = self.ops.len() + 1;
                self.ops.push(Op::Either(deep, deep + 1));
                self.push(Op::Deep);
            }
            None | Some('}' | ',') if count == 2 && begins_name => self.ops.push(Op::All),
            _ => self.ops.push(Op::Many),
        }
    }

    fn class(&mut self) -> Result<(), String> {
        self.at += 1;
        let inverted = matches!(self.chars.get(self.at), Some('!' | '^'));
        self.at += usize::from(inverted);
        let (mut ranges, first) = (Vec::new(), self.at);
        loop {
            match self.next_in_class()? {
                // Right at the beginning it is a character like any other.
                ']' if self.at > first + 1 => break,
                from => {
                    let is_range = self.chars.get(self.at) == Some(&'-')
                        && self.chars.get(self.at + 1).is_some_and(|to| *to != ']');
                    self.at += usize::from(is_range);
                    let to = if is_range { self.next_in_class()? } else { from };
                    ranges.push((from, to));
                }
            }
        }
        self.ops.push(Op::Class { ranges, inverted });
        Ok(())
    }

    fn next_in_class(&mut self) -> Result<char, String> {
        let char = self.chars.get(self.at).ok_or("has a `[` without its `]`")?;
        self.at += 1;
        Ok(*char)
    }

    fn braces(&mut self, depth: u32) -> Result<(), String> {
        if depth > BRACES_DEPTH_MAX {
            return Err(format!("has braces within braces more than {BRACES_DEPTH_MAX} deep"));
        }
        let mut jumps = Vec::new();
        loop {
            self.at += 1;
            let either = self.ops.len();
            self.ops.push(Op::Jump(either + 1));
            self.sequence(depth)?;
            let is_last = self.chars.get(self.at) == Some(&'}');
            if is_last {
                break;
            }
            jumps.push(self.ops.len());
            self.ops.push(Op::Jump(0));
            self.ops[either] = Op::Either(either + 1, self.ops.len());
        }
        self.at += 1;
        let end = self.ops.len();
        jumps.into_iter().for_each(|jump| self.ops[jump] = Op::Jump(end));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Program::compile(pattern).unwrap().matches(text)
    }

    #[test]
    fn characters_and_classes() {
        assert!(matches("a?c", "abc") && matches("a?c", "aéc") && !matches("a?c", "a/c"));
        assert!(matches("[a-c]x", "bx") && !matches("[a-c]x", "dx") && matches("[!a-c]x", "dx"));
        assert!(
            matches("[]x]", "]") && matches("[^]]", "x") && matches("[a-]", "-") && !matches("[!a]", "/")
        );
        assert!(matches("\\*\\{", "*{") && !matches("\\*", "x"));
    }

    #[test]
    fn stars() {
        assert!(matches("*", "") && matches("a*b*c", "a--b--c") && !matches("a*", "a/b"));
        assert!(matches("a**b", "axxb") && !matches("a**b", "a/b"), "not a name of its own");
        assert!(matches("**/b", "b") && matches("**/b", "a/a/b") && !matches("**/b", "ab"));
        assert!(matches("a/**", "a/b/c") && matches("**", "a/b"));
    }

    #[test]
    fn braces() {
        assert!(
            matches("*.{js,ts}", "a.ts") && matches("*.{js,ts}", "a.js") && !matches("*.{js,ts}", "a.rs")
        );
        assert!(matches("{a,b{c,d}}e", "bde") && matches("{a,}b", "b") && matches("{**/x,y}", "p/q/x"));
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for pattern in ["[a", "{a", "{a,b", "a\\", "[!", "[]", &"{".repeat(20)] {
            assert!(Program::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let pattern = format!("{}b", "*a".repeat(300));
        assert!(!matches(&pattern, &"a".repeat(1000)));
    }

    /// The straightforward answer for patterns of letters, `?` and `*`.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive(rest, text),
            (Some((b'*', rest)), Some((_, tail))) => naive(rest, text) || naive(pattern, tail),
            (Some((wanted, rest)), Some((found, tail))) => {
                (wanted == found || *wanted == b'?') && naive(rest, tail)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_straightforward_matcher(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            prop_assume!(!pattern.contains("**"));
            prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in "[a*?\\[\\]{},!\\\\/^-]{0,30}", text: String) {
            if let Ok(program) = Program::compile(&pattern) {
                program.matches(&text);
            }
        }
    }
}
