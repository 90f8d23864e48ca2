//! Signals, by name and number (`signal(7)`, as on x86 and ARM).

use serde_json::Value;

use crate::http::fields::Fields;

/// Those with a name, in the order of their numbers from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The largest number of a signal, those without a name included.
const NUMBER_MAX: i64 = 64;

/// The number of the signal in the field `signal`.
pub fn number(fields: &mut Fields) -> i32 {
    let found = match fields.take("signal") {
        Some(Value::String(name)) => named(&name),
        Some(Value::Number(number)) => number.as_i64().filter(|number| (1..=NUMBER_MAX).contains(number)),
        _ => None,
    };
    match found.and_then(|number| i32::try_from(number).ok()) {
        Some(number) => number,
        None => {
            fields.wrong(
                "signal",
                format!("must be a signal such as \"TERM\", or a number from 1 to {NUMBER_MAX}"),
            );
            0
        }
    }
}

fn named(name: &str) -> Option<i64> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let index = NAMES.iter().position(|known| *known == bare)?;
    i64::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Option<i32>) {
        let mut fields = Fields::parse(json.as_bytes()).unwrap();
        let found = number(&mut fields);
        assert_eq!(fields.finish().ok().map(|()| found), expect, "{json}");
    }

    #[test]
    fn a_signal_has_a_name_and_a_number() {
        check(r#"{"signal": "TERM"}"#, Some(15));
        check(r#"{"signal": "SIGKILL"}"#, Some(9));
        check(r#"{"signal": "sighup"}"#, Some(1));
        check(r#"{"signal": "SYS"}"#, Some(31));
        check(r#"{"signal": 2}"#, Some(2));
        check(r#"{"signal": 64}"#, Some(64));
        for wrong in
            ["{}", r#"{"signal": 0}"#, r#"{"signal": 65}"#, r#"{"signal": -9}"#, r#"{"signal": "9"}"#]
        {
            check(wrong, None);
        }
        check(r#"{"signal": 1.5}"#, None);
        check(r#"{"signal": "SIGSIGTERM"}"#, None);
    }
}
