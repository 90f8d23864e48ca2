//! The map names every crate.

use super::Finding;
use super::files::File;

const MAP: &str = "ARCHITECTURE.md";

pub fn check(files: &[File]) -> Vec<Finding> {
    let map = files.iter().find(|file| file.path == MAP).and_then(|file| file.text.as_deref());
    let Some(map) = map else {
        return vec![Finding::new(
            MAP,
            0,
            "is not there",
            "write a paragraph and an invariant for each crate",
        )];
    };
    let crates = files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"));
    let missing = crates.filter(|path| path.starts_with("crates/") && !map.contains(&format!("`{path}`")));
    missing
        .map(|path| {
            Finding::new(MAP, 0, format!("does not name `{path}`"), "add its paragraph and its invariant")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_the_map_does_not_name_is_found() {
        let crates = |map| [File::text("crates/wire/Cargo.toml", ""), File::text(MAP, map)];
        assert_eq!(check(&crates("**`crates/wire`** has the words\n")), []);
        assert!(check(&crates("crates/wir\n"))[0].what.contains("`crates/wire`"));
        assert!(check(&[])[0].what.contains("not there"));
    }
}
