//! The shapes of bodies, collected from the types in `wire` as operations name them.
//!
//! What is sent may hold `null` where a field may be absent; what is answered never does. So a type that is used both
//! ways may have two shapes, and the one that is sent is then called `…Input`.

use anyhow::{Result, ensure};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::tidy;

/// Where shapes are in the document.
pub const PLACE: &str = "#/components/schemas/";
/// Where references to shapes that are sent point, until all are known.
const SENT: &str = "/components/sent";
/// The same for those that are answered.
const ANSWERED: &str = "/components/answered";

/// All shapes so far.
pub struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

/// A shape, once there is somewhere to put it.
pub type Shape = fn(&mut Schemas) -> Value;

impl Schemas {
    pub fn new() -> Self {
        let settings = |place: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = place.into();
                settings.meta_schema = None;
            })
        };
        Self {
            sent: settings(SENT).for_deserialize().into_generator(),
            answered: settings(ANSWERED).for_serialize().into_generator(),
        }
    }

    /// The shape of what clients send as a `T`.
    pub fn sent<T: JsonSchema>(&mut self) -> Value {
        self.sent.subschema_for::<T>().to_value()
    }

    /// The shape of what the server answers as a `T`.
    pub fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().to_value()
    }

    /// Adds all shapes to the document, and makes its references lead to them.
    ///
    /// # Errors
    /// When two shapes have one name.
    pub fn finish(mut self, document: &mut Value) -> Result<()> {
        let mut shapes = Map::new();
        for (name, mut shape) in self.answered.take_definitions(false) {
            tidy::forbid_null(&mut shape);
            tidy::shape(&mut shape);
            shapes.insert(name, shape);
        }
        let mut renamed = Vec::new();
        for (name, mut shape) in self.sent.take_definitions(false) {
            tidy::shape(&mut shape);
            let is_other = shapes.get(&name).is_some_and(|answered| place(answered) != place(&shape));
            let final_name = if is_other { format!("{name}Input") } else { name.clone() };
            ensure!(!is_other || !shapes.contains_key(&final_name), "two shapes are called {final_name}");
            renamed.push((format!("#{SENT}/{name}"), format!("{PLACE}{final_name}")));
            shapes.insert(final_name, shape);
        }
        tidy::name_variants(&mut shapes);
        document["components"]["schemas"] = Value::Object(shapes);
        tidy::each_text(document, &mut |text| {
            if let Some((_, target)) = renamed.iter().find(|(source, _)| source == text) {
                text.clone_from(target);
            } else if let Some(name) = text.strip_prefix(&format!("#{ANSWERED}/")) {
                *text = format!("{PLACE}{name}");
            }
        });
        Ok(())
    }
}

/// The shape with references as they will be, to see whether two are one.
fn place(shape: &Value) -> Value {
    let mut shape = shape.clone();
    tidy::each_text(&mut shape, &mut |text| {
        *text = text.replace(&format!("#{SENT}/"), PLACE).replace(&format!("#{ANSWERED}/"), PLACE);
    });
    shape
}
