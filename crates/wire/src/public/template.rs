//! Templates.

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::schema::{TemplateName, Time};
use crate::id::TemplateId;
use crate::image::{Digest, ImageConfig};

/// A template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Template {
    /// Its id.
    pub id: TemplateId,
    /// Its name; `system/…` for ours.
    pub name: String,
    /// Its image.
    pub digest: Digest,
    /// How the image's processes run.
    pub image_config: ImageConfig,
    /// Whether it is ours.
    pub is_system: bool,
    /// When it was created.
    #[cfg_attr(feature = "schema", schemars(with = "Time"))]
    pub created_at: String,
}

/// `POST /v1/template/system`, for operators: build one of the templates we ship the recipe of.
/// The answer is a stream of [`crate::node::BuildEvent`] lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BuildSystemTemplate {
    /// Its name, `system/` included.
    #[cfg_attr(feature = "schema", schemars(with = "TemplateName"))]
    pub name: String,
    /// Whether it is refused, instead of built of other packages than its lock names, where a mirror has moved on. Absent:
    /// it is built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
}

/// `GET /v1/templates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TemplateList {
    /// All that the team may use, by name.
    pub items: Vec<Template>,
    /// How many there are.
    pub total_items: u64,
}
