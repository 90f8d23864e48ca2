//! Layers become trees: what every tool can write, and what no honest one would.

mod archive;
mod confinement;
mod features;
mod generated;
mod hostile;
mod image;
mod look;
mod oracle;
mod packed;
mod umoci;
