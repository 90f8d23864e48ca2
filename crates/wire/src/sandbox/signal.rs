//! Signals by name and number (`signal(7)`, as on x86 and ARM), as images and users spell them.

/// Those with a name, in the order of their numbers from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// Second names of some.
const ALIASES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first signal without a meaning, as programs count them: the C library keeps two for itself.
const RTMIN: i32 = 34;
/// The last one.
const RTMAX: i32 = 64;

/// Why a text is not a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a signal: expected a name such as TERM, SIGINT or SIGRTMIN+3, or a number from 1 to 64"
)]
pub struct InvalidSignal(pub String);

/// The number of a signal that is named or numbered, as an image's `STOPSIGNAL` is.
///
/// # Errors
/// When there is no such signal.
pub fn number(text: &str) -> Result<i32, InvalidSignal> {
    let numbered = || text.parse().ok().filter(|number| is_number(*number));
    by_name(text).or_else(numbered).ok_or_else(|| InvalidSignal(text.to_owned()))
}

/// Whether there is a signal of this number.
pub fn is_number(number: i32) -> bool {
    (1..=RTMAX).contains(&number)
}

/// The number of the signal with this name, in letters of either case, with `SIG` before it or without.
pub fn by_name(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == bare) {
        return i32::try_from(index + 1).ok();
    }
    let alias = ALIASES.iter().find(|(alias, _)| *alias == bare);
    alias.map(|(_, number)| *number).or_else(|| real_time(bare))
}

/// `RTMIN`, `RTMIN+n`, `RTMAX-n`, `RTMAX`.
fn real_time(bare: &str) -> Option<i32> {
    let number = match (bare.strip_prefix("RTMIN"), bare.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

fn offset(rest: &str, sign: char) -> Option<i32> {
    if rest.is_empty() {
        return Some(0);
    }
    let digits = rest.strip_prefix(sign)?;
    // `parse` would take a second sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<i32>) {
        assert_eq!(number(text).ok(), expect, "{text}");
    }

    #[test]
    fn a_signal_has_names_and_a_number() {
        check("TERM", Some(15));
        check("SIGKILL", Some(9));
        check("sigquit", Some(3));
        check("SYS", Some(31));
        check("SIGIOT", Some(6));
        check("3", Some(3));
        check("64", Some(64));
    }

    #[test]
    fn those_without_a_meaning_are_counted_from_either_end() {
        check("SIGRTMIN+3", Some(37));
        check("rtmin", Some(34));
        check("RTMAX", Some(64));
        check("SIGRTMAX-30", Some(34));
        for wrong in ["RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMIN+", "RTMIN++3", "RTMAX-99999999999"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_none_is_named() {
        for wrong in ["", "SIG", "0", "65", "-9", "1.5", "SIGSIGTERM", "TERM ", "HUPP"] {
            check(wrong, None);
        }
        assert!(number("SIGFOO").unwrap_err().to_string().contains("`SIGFOO`"));
    }
}
