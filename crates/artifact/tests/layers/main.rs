//! Layers become trees: what every tool can write, and what no honest one would.

mod archive;
mod features;
mod image;
mod look;
mod oracle;
mod umoci;
