//! The field that names a signal.

use serde_json::Value;
use wire::sandbox::signal;

use crate::http::fields::Fields;

/// The number of the signal in the field `signal`.
pub fn number(fields: &mut Fields) -> i32 {
    let found = match fields.take("signal") {
        Some(Value::String(name)) => signal::by_name(&name),
        Some(Value::Number(number)) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        _ => None,
    };
    match found.filter(|number| signal::is_number(*number)) {
        Some(number) => number,
        None => {
            fields.wrong("signal", "must be a signal such as \"TERM\", or a number from 1 to 64");
            0
        }
    }
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
        check(r#"{"signal": "SIGRTMIN+3"}"#, Some(37));
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
