//! What a terminal is to be like.

use wire::guest::pty::{CELLS_MAX, ID_BYTES_MAX, PtySpec, SIDE_MAX};
use wire::id::PtyId;
use wire::public::pty::{DEFAULT_COLS, DEFAULT_ROWS};

use super::super::fields::Fields;
use super::super::processes::{command, user};
use crate::entropy;
use crate::error::Result;

/// The terminal in a body.
pub fn spec(mut fields: Fields) -> Result<PtySpec> {
    let id = match fields.string("id") {
        Some(id) => checked(&mut fields, id),
        None => String::from(PtyId::from_entropy(entropy::bytes()?)),
    };
    let has_command = fields.has("command") || fields.has("argv");
    let (cols, rows) = sides(&mut fields);
    let spec = PtySpec {
        id,
        cols: cols.unwrap_or(DEFAULT_COLS),
        rows: rows.unwrap_or(DEFAULT_ROWS),
        cwd: fields.path("cwd"),
        env: fields.environment("envs").unwrap_or_default(),
        user: user(&mut fields),
        command: if has_command { command(&mut fields) } else { None },
        lazy: fields.boolean("lazy_start").unwrap_or(false),
    };
    check_cells(&mut fields, spec.cols, spec.rows);
    fields.finish()?;
    Ok(spec)
}

/// The size in a body.
pub fn size(mut fields: Fields) -> Result<(u16, u16)> {
    for side in ["cols", "rows"] {
        if !fields.has(side) {
            fields.wrong(side, "is required");
        }
    }
    let (cols, rows) = sides(&mut fields);
    let (cols, rows) = (cols.unwrap_or(1), rows.unwrap_or(1));
    check_cells(&mut fields, cols, rows);
    fields.finish()?;
    Ok((cols, rows))
}

fn checked(fields: &mut Fields, id: String) -> String {
    if id.is_empty() || id.contains('\0') || id.len() > ID_BYTES_MAX {
        fields.wrong("id", format!("must be 1 to {ID_BYTES_MAX} bytes without NUL"));
    }
    id
}

fn sides(fields: &mut Fields) -> (Option<u16>, Option<u16>) {
    let mut side = |name: &str| {
        let number = fields.integer(name, 1..=SIDE_MAX.into())?;
        u16::try_from(number).ok()
    };
    (side("cols"), side("rows"))
}

fn check_cells(fields: &mut Fields, cols: u16, rows: u16) {
    if u32::from(cols) * u32::from(rows) > CELLS_MAX {
        fields.wrong("rows", format!("times `cols` must be at most {CELLS_MAX}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use serde_json::{Value, json};
    use wire::guest::Command;

    fn fields(body: &Value) -> Fields {
        Fields::parse(body.to_string().as_bytes()).unwrap()
    }

    fn wrong<T>(result: Result<T>) -> Vec<String> {
        match result {
            Err(Error::Fields(errors)) => errors.into_iter().map(|error| error.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn everything_has_a_default() {
        let made = spec(fields(&json!({}))).unwrap();
        assert!(made.id.starts_with("pty-"));
        assert_eq!((made.cols, made.rows, made.lazy, made.command), (80, 24, false, None));
        let asked = json!({
            "id": "my term/1", "cols": 132, "rows": 50, "cwd": "/tmp", "envs": {"A": "b"}, "lazy_start": true,
            "argv": ["top"], "user": "root",
        });
        let made = spec(fields(&asked)).unwrap();
        assert_eq!((made.id.as_str(), made.cols, made.rows, made.lazy), ("my term/1", 132, 50, true));
        assert_eq!(made.command, Some(Command::Argv(vec!["top".into()])));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad = json!({"id": "", "cols": 0, "rows": 1001, "lazy_start": 1, "command": "a", "argv": ["b"]});
        assert_eq!(wrong(spec(fields(&bad))), ["id", "cols", "rows", "command", "lazy_start"]);
        assert_eq!(wrong(spec(fields(&json!({"cols": 1000, "rows": 1000})))), ["rows"]);
        assert_eq!(wrong(size(fields(&json!({})))), ["cols", "rows"]);
        assert_eq!(size(fields(&json!({"cols": 1, "rows": 2}))).unwrap(), (1, 2));
    }
}
