//! The body of every answer that is not a success.

use serde::{Deserialize, Serialize};

/// `{"message": …}`, and for bad requests the fields that were wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// For people: what is wrong, and what to do about it.
    pub message: String,
    /// For programs: one of a closed list.
    pub code: String,
    /// Each field that was wrong. Only in answers with status 400.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One field that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldError {
    /// Its name in the JSON body or query string; nested ones with dots.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub error: String,
}
